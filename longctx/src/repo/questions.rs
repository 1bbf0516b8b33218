//! The questions about packages. Only the files shown count, so that the context decides the answer.

use std::collections::BTreeSet;
use std::ops::Range;

use super::graph::Graph;
use super::load::SourceFile;
use super::python::Facts;
use super::{HEAD, Library, Shown};
use crate::context::{Context, Origin, Piece};
use crate::draw::Draw;
use crate::phrases::{self, NOT_SAID};
use crate::stream::BREAK;
use crate::task::{Draft, Form, Turn, World};

/// Minimum number of files that import the file in question, if possible (the Llama 3 paper, section 4.3.4: at least five).
const MANY: usize = 5;
/// Maximum number of files that an answer names.
const NAMED: usize = 40;
/// Number of draws of a file.
const DRAWS: usize = 60;

/// A file of the context.
struct Chosen<'a> {
    repository: usize,
    shown: &'a Shown,
}

/// Drafts a record of about `tokens` tokens of files.
pub(crate) fn draft(world: &World, library: &Library, tokens: u64, absent: bool, draw: &mut Draw) -> Option<Draft> {
    let forms = [Form::Importers, Form::Dependents, Form::Breaks, Form::ImportedNames, Form::DefinedIn];
    let form = if absent { Form::DefinedIn } else { *draw.one(&forms)? };
    let number = draw.below(library.repositories.len());
    let repository = library.repositories.get(number)?;
    // The file in question and its dependents are chosen first.
    let target = (0..DRAWS).find_map(|round| {
        let at = draw.below(repository.files.len());
        let importers = repository.graph.importers(at);
        let least = if round < DRAWS / 2 { MANY } else { 1 };
        let size: u64 = importers.iter().chain([&at]).map(|file| repository.files[*file].tokens).sum();
        let fits = size * 10 < tokens * 9;
        let is_module = !repository.files[at].file.is_package();
        (is_module && importers.len() >= least && importers.len() <= NAMED && fits).then_some(at)
    })?;
    let mut first: Vec<usize> = repository.graph.importers(target).into_iter().collect();
    first.push(target);
    let chosen = fill(library, number, &first, tokens, draw);
    let files: Vec<&SourceFile> = chosen.iter().map(|chosen| &chosen.shown.file).collect();
    let facts: Vec<&Facts> = chosen.iter().map(|chosen| &chosen.shown.facts).collect();
    let graph = Graph::new(&files, &facts);
    let target = files.iter().position(|file| file.path == repository.files[target].file.path)?;
    let (context, places) = context(library, &chosen);
    let turn = match form {
        Form::ImportedNames => names(&files, &facts, &graph, target, &places, draw)?,
        Form::DefinedIn if absent => undefined(library, &context, draw)?,
        Form::DefinedIn => defined(&files, &facts, &places, draw)?,
        _ => dependents(form, &files, &graph, target, &places, draw)?,
    };
    let turn = if form == Form::DefinedIn {
        turn.saying(phrases::not_said(world.split))
    } else {
        turn.saying(phrases::imports_rule(world.split))
    };
    Some(Draft { context, turns: vec![turn] })
}

/// The files of the context, in a random order: those given, then others of the package, then of other packages.
fn fill<'a>(library: &'a Library, number: usize, first: &[usize], tokens: u64, draw: &mut Draw) -> Vec<Chosen<'a>> {
    let own = &library.repositories[number].files;
    let mut chosen: Vec<Chosen> = first.iter().map(|at| Chosen { repository: number, shown: &own[*at] }).collect();
    let mut paths: BTreeSet<&str> = chosen.iter().map(|chosen| chosen.shown.file.path.as_str()).collect();
    let mut sum: u64 = chosen.iter().map(|chosen| chosen.shown.tokens).sum();
    let mut order: Vec<usize> = (0..library.repositories.len()).filter(|other| *other != number).collect();
    draw.shuffle(&mut order);
    order.insert(0, number);
    for other in order {
        if sum * 1000 >= tokens * 995 {
            break;
        }
        let files = &library.repositories[other].files;
        let mut rest: Vec<usize> = (0..files.len()).collect();
        draw.shuffle(&mut rest);
        for at in rest {
            let shown = &files[at];
            if sum + shown.tokens <= tokens && paths.insert(&shown.file.path) {
                sum += shown.tokens;
                chosen.push(Chosen { repository: other, shown });
            }
        }
    }
    draw.shuffle(&mut chosen);
    chosen
}

/// Joins the files into one text, and gives the byte range of each.
fn context(library: &Library, chosen: &[Chosen]) -> (Context, Vec<Range<usize>>) {
    let mut context = Context::default();
    let mut places = Vec::new();
    let last = chosen.len().saturating_sub(1);
    for (at, chosen) in chosen.iter().enumerate() {
        let start = context.text.len();
        context.text.push_str(&chosen.shown.block);
        places.push(start..context.text.len());
        let mut text = chosen.shown.block.clone();
        if at < last {
            context.text.push_str(BREAK);
            text.push_str(BREAK);
        }
        // The first and the last file are encoded together with the text around them.
        let is_inside = at > 0 && at < last;
        context.pieces.push(if is_inside { Piece::Counted(chosen.shown.tokens) } else { Piece::Made(text) });
        let repository = &library.repositories[chosen.repository];
        let origin = Origin {
            name: repository.name.clone(),
            sha256: repository.sha256.clone(),
            licence: repository.licence.clone(),
        };
        if !context.origins.contains(&origin) {
            context.origins.push(origin);
        }
    }
    (context, places)
}

fn sorted(files: &[&SourceFile], numbers: &BTreeSet<usize>) -> String {
    let mut paths: Vec<&str> = numbers.iter().map(|at| files[*at].path.as_str()).collect();
    paths.sort_unstable();
    paths.join(", ")
}

fn dependents(
    form: Form,
    files: &[&SourceFile],
    graph: &Graph,
    target: usize,
    places: &[Range<usize>],
    draw: &mut Draw,
) -> Option<Turn> {
    let found = match form {
        Form::Importers => graph.importers(target),
        Form::Dependents => graph.dependents(target),
        _ => {
            let surely = graph.broken_without(target, false);
            // The answer must be the same with and without conditional imports.
            (surely == graph.broken_without(target, true)).then_some(surely)?
        }
    };
    if found.is_empty() || found.len() > NAMED {
        return None;
    }
    let evidence = found.iter().map(|at| places[*at].clone()).collect();
    Some(Turn::new(form, &[&files[target].path], sorted(files, &found), draw).at(evidence))
}

/// The question about names that one file imports from another; all of them by `from ... import`.
fn names(
    files: &[&SourceFile],
    facts: &[&Facts],
    graph: &Graph,
    target: usize,
    places: &[Range<usize>],
    draw: &mut Draw,
) -> Option<Turn> {
    let mut importers: Vec<usize> = graph.importers(target).into_iter().collect();
    draw.shuffle(&mut importers);
    for at in importers {
        let all = facts[at].imports.iter().flat_map(|import| graph.targets(files[at], import));
        let taken: Vec<Option<&str>> = all.filter(|(file, _)| *file == target).map(|(_, name)| name).collect();
        let names: BTreeSet<&str> = taken.iter().flatten().copied().collect();
        if taken.iter().all(|name| name.is_some_and(|name| name != "*")) && !names.is_empty() {
            let answer = names.into_iter().collect::<Vec<_>>().join(", ");
            let (user, used) = (files[at].path.as_str(), files[target].path.as_str());
            return Some(Turn::new(Form::ImportedNames, &[user, used], answer, draw).at(vec![places[at].clone()]));
        }
    }
    None
}

/// Asks for the file that defines a function or class which no other file defines.
fn defined(files: &[&SourceFile], facts: &[&Facts], places: &[Range<usize>], draw: &mut Draw) -> Option<Turn> {
    let all: Vec<(&str, usize)> = facts
        .iter()
        .enumerate()
        .flat_map(|(at, facts)| facts.definitions.iter().map(move |name| (name.as_str(), at)))
        .collect();
    for _ in 0..DRAWS {
        let (name, at) = *draw.one(&all)?;
        if name.len() >= 4 && all.iter().filter(|(other, _)| *other == name).count() == 1 {
            let path = files[at].path.as_str();
            return Some(Turn::new(Form::DefinedIn, &[name], path, draw).at(vec![places[at].clone()]));
        }
    }
    None
}

/// Asks for a function or class whose only definition is in a file that is not shown.
fn undefined(library: &Library, context: &Context, draw: &mut Draw) -> Option<Turn> {
    for _ in 0..DRAWS {
        let repository = draw.one(&library.repositories)?;
        let shown = draw.one(&repository.files)?;
        let Some(name) = draw.one(&shown.facts.definitions) else { continue };
        let is_shown = context.has(&format!("{HEAD}{}\n", shown.file.path));
        let is_defined = ["def ", "class "].iter().any(|word| context.has(&format!("{word}{name}")));
        if name.len() >= 4 && !is_shown && !is_defined {
            return Some(Turn::new(Form::DefinedIn, &[name], NOT_SAID, draw));
        }
    }
    None
}
