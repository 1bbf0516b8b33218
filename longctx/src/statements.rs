//! Statements inserted into a text: facts, corrections, and markers that refer to each other for their number.

use crate::context::Context;
use crate::draw::Draw;
use crate::phrases::{self, NOT_SAID};
use crate::stream::Stream;
use crate::task::{Draft, Form, Turn, World};

/// A named thing and its values; the last one is valid.
pub(crate) struct Fact {
    pub(crate) form: Form,
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl Fact {
    /// Draws a random fact with a number of corrections.
    pub(crate) fn draw(form: Form, corrections: usize, draw: &mut Draw) -> Self {
        let name = draw.name();
        let mut values: Vec<String> = Vec::new();
        while values.len() <= corrections {
            let value = match form {
                Form::ArchiveKeeper => draw.name(),
                Form::ExpeditionGate | Form::CommitteeRoom => draw.between(100, 999).to_string(),
                _ => draw.between(10_000, 99_999).to_string(),
            };
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Self { form, name, values }
    }

    pub(crate) fn statements(&self) -> impl Iterator<Item = String> {
        self.values.iter().enumerate().map(|(at, value)| phrases::statement(self.form, &self.name, value, at > 0))
    }

    /// The question about the fact; its last statement is the evidence.
    pub(crate) fn ask(&self, context: &Context, draw: &mut Draw) -> Option<Turn> {
        let last = self.statements().last()?;
        let place = context.statements.iter().find(|range| context.text[(*range).clone()] == last)?;
        let mut turn = Turn::new(self.form, &[&self.name], self.values.last()?, draw).at(vec![place.clone()]);
        turn.keys = vec![self.name.clone()];
        Some(turn)
    }

    /// The question when the text has no such statement.
    pub(crate) fn ask_absent(&self, draw: &mut Draw) -> Turn {
        let mut turn = Turn::new(self.form, &[&self.name], NOT_SAID, draw);
        turn.keys = vec![self.name.clone()];
        turn
    }
}

/// Draws facts about different things, of one or several forms.
pub(crate) fn different(forms: &[Form], corrections: &[usize], draw: &mut Draw) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    for (at, corrections) in corrections.iter().enumerate() {
        loop {
            let fact = Fact::draw(forms[at % forms.len()], *corrections, draw);
            if facts.iter().all(|other| other.name != fact.name) {
                facts.push(fact);
                break;
            }
        }
    }
    facts
}

/// Shuffles the statements; statements of one group keep their order.
pub(crate) fn mixed(groups: Vec<Vec<String>>, draw: &mut Draw) -> Vec<String> {
    let mut turns: Vec<usize> = groups.iter().enumerate().flat_map(|(at, group)| vec![at; group.len()]).collect();
    draw.shuffle(&mut turns);
    let mut groups: Vec<std::vec::IntoIter<String>> = groups.into_iter().map(Vec::into_iter).collect();
    turns.into_iter().filter_map(|at| groups[at].next()).collect()
}

/// Whether the passage already contains one of the made-up keys.
pub(crate) fn is_taken<'a>(context: &Context, keys: impl IntoIterator<Item = &'a String>) -> bool {
    let text = &context.text;
    let mut keys = keys.into_iter();
    keys.any(|key| {
        let said = context.statements.iter().map(|range| text[range.clone()].matches(key.as_str()).count());
        memchr::memmem::find_iter(text.as_bytes(), key.as_bytes()).count() != said.sum::<usize>()
    })
}

/// Drafts a question about one of four facts, or about a fact that the text lacks.
pub fn facts(world: &World, stream: &Stream, tokens: u64, absent: bool, draw: &mut Draw) -> Option<Draft> {
    let form = *draw.one(phrases::facts(world.split))?;
    let facts = different(&[form], &[0; 5], draw);
    let told = facts[..4].iter().map(|fact| fact.statements().collect()).collect();
    let statements = mixed(told, draw);
    let context = Context::with_statements(stream, stream.passage(tokens, draw)?, &statements, draw)?;
    if is_taken(&context, facts.iter().map(|fact| &fact.name)) {
        return None;
    }
    let turn = if absent { facts[4].ask_absent(draw) } else { facts[0].ask(&context, draw)? };
    Some(Draft { context, turns: vec![turn.saying(phrases::not_said(world.split))] })
}

/// Drafts a question about a fact that is corrected one to three times, among other facts.
pub fn contradiction(world: &World, stream: &Stream, tokens: u64, draw: &mut Draw) -> Option<Draft> {
    let form = *draw.one(phrases::facts(world.split))?;
    let corrections = [1 + draw.below(3), draw.below(2), 0];
    let facts = different(&[form], &corrections, draw);
    let statements = mixed(facts.iter().map(|fact| fact.statements().collect()).collect(), draw);
    let context = Context::with_statements(stream, stream.passage(tokens, draw)?, &statements, draw)?;
    if is_taken(&context, facts.iter().map(|fact| &fact.name)) {
        return None;
    }
    let turn = facts[0].ask(&context, draw)?.saying(phrases::last_counts(world.split));
    Some(Draft { context, turns: vec![turn] })
}

/// Drafts three chains of two to four markers each. The question asks for the number of a chain's last marker, or for the markers that
/// have a number.
pub fn hops(world: &World, stream: &Stream, tokens: u64, absent: bool, draw: &mut Draw) -> Option<Draft> {
    let mut markers: Vec<String> = Vec::new();
    while markers.len() < 13 {
        let marker = draw.marker();
        if !markers.contains(&marker) {
            markers.push(marker);
        }
    }
    let mut numbers: Vec<String> = Vec::new();
    while numbers.len() < 3 {
        let number = draw.between(10_000, 99_999).to_string();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    let mut groups = Vec::new();
    let mut chains: Vec<&[String]> = Vec::new();
    for (at, number) in numbers.iter().enumerate() {
        let chain = &markers[at * 4..at * 4 + 2 + draw.below(3)];
        let mut statements = vec![phrases::holds(world.split, &chain[0], number)];
        statements.extend(chain.windows(2).map(|pair| phrases::same(world.split, &pair[1], &pair[0])));
        // A marker may occur before the marker that it refers to.
        draw.shuffle(&mut statements);
        groups.push(statements);
        chains.push(chain);
    }
    let chain = chains[0].to_vec();
    let said: Vec<String> = groups[0].clone();
    let statements = mixed(groups, draw);
    let context = Context::with_statements(stream, stream.passage(tokens, draw)?, &statements, draw)?;
    if is_taken(&context, markers.iter().chain(&numbers)) {
        return None;
    }
    let is_evidence = |range: &&std::ops::Range<usize>| said.iter().any(|s| *s == context.text[(*range).clone()]);
    let evidence: Vec<_> = context.statements.iter().filter(is_evidence).cloned().collect();
    let mut turn = if absent {
        Turn::new(Form::Hops, &[&markers[12]], NOT_SAID, draw)
    } else if draw.below(3) == 0 {
        let mut sorted = chain.clone();
        sorted.sort_unstable();
        Turn::new(Form::HopsAll, &[&numbers[0]], sorted.join(", "), draw).at(evidence)
    } else {
        Turn::new(Form::Hops, &[chain.last()?], &numbers[0], draw).at(evidence)
    };
    turn.keys = if absent { vec![markers[12].clone()] } else { chain };
    if turn.form == Form::Hops {
        turn = turn.saying(phrases::not_said(world.split));
    }
    Some(Draft { context, turns: vec![turn] })
}
