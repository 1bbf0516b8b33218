//! Six or seven questions about one text; the last asks to repeat an earlier answer.

use crate::context::Context;
use crate::draw::Draw;
use crate::phrases;
use crate::statements::{different, is_taken, mixed};
use crate::stream::Stream;
use crate::task::{Draft, Form, Turn, World};
use crate::{ask, words};

/// Drafts a conversation of about `tokens` tokens of context.
pub fn draft(world: &World, stream: &Stream, tokens: u64, absent: bool, draw: &mut Draw) -> Option<Draft> {
    let forms = phrases::facts(world.split);
    let facts = different(forms, &[0, 1, 0, 0], draw);
    let statements = mixed(facts[..3].iter().map(|fact| fact.statements().collect()).collect(), draw);
    let context = Context::with_statements(stream, stream.passage(tokens, draw)?, &statements, draw)?;
    if is_taken(&context, facts.iter().map(|fact| &fact.name)) {
        return None;
    }
    let not_said = phrases::not_said(world.split);
    let mut turns = Vec::new();
    turns.push(facts[0].ask(&context, draw)?.saying(not_said));
    turns.push(facts[1].ask(&context, draw)?.saying(phrases::last_counts(world.split)));
    if absent {
        turns.push(facts[3].ask_absent(draw).saying(not_said));
    }
    turns.push(ask::extract(&context, draw)?.saying(not_said));
    let mut others = [
        words::count(&context, draw),
        words::aggregate(&context, draw),
        ask::order(&context, draw),
        ask::position(&context, draw),
    ];
    draw.shuffle(&mut others);
    let wanted = 5 + draw.below(2);
    turns.extend(others.into_iter().flatten());
    if turns.len() < wanted {
        return None;
    }
    turns.truncate(wanted);
    draw.shuffle(&mut turns);
    // The number of a question before the last one.
    let number = 1 + draw.below(turns.len() - 1);
    let again = turns[number - 1].answer.clone();
    let evidence = turns[number - 1].evidence.clone();
    turns.push(Turn::new(Form::Again, &[&number.to_string()], again, draw).at(evidence));
    Some(Draft { context, turns })
}
