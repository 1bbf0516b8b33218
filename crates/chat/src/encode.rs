//! From a conversation to token ids, with a mask of the tokens to train on.
//!
//! For each assistant message i, the template renders the messages before it with the generation prompt, and the
//! messages up to and including it. The first text must be a prefix of the second; the rest is the text that the
//! model has to write. The trained part ends with the first token that ends a turn. The text is tokenised piece by
//! piece, so a boundary of the mask is always a boundary between tokens.

use std::ops::Range;

use dataset::{Message, Role};

use crate::error::ChatError;
use crate::messages::{check_arguments, check_written, is_trained};
use crate::special;
use crate::template::{ChatTemplate, RenderOptions};
use crate::thinking;
use crate::tokenizer::Tokenizer;

/// Which assistant turns are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Train {
    /// All of them.
    #[default]
    AllTurns,
    /// Only the last one. All earlier turns are context, however the template renders them.
    LastTurn,
}

/// How special tokens in the text of a message are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// An error: in training data they are a defect or an attack.
    #[default]
    Refuse,
    /// They are parsed as control tokens, as transformers does.
    Parse,
    /// They are tokenised as plain text.
    Plain,
}

/// Options of the encoding.
#[derive(Debug, Clone, Default)]
pub struct EncodeOptions {
    /// Which assistant turns are trained.
    pub train: Train,
    /// Special tokens in the contents of messages.
    pub special_tokens: SpecialTokens,
    /// Tools, documents and variables for the template; `add_generation_prompt` is ignored.
    pub render: RenderOptions,
}

/// The position of an assistant turn, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The message, from 0.
    pub message: usize,
    /// The turn's header (`<|im_start|>assistant\n`): formatting.
    pub header: Range<usize>,
    /// The tokens that the model has to write, without the end-of-turn token.
    pub content: Range<usize>,
    /// The end-of-turn token: formatting, but trained.
    pub terminator: Range<usize>,
    /// Whether the turn is trained.
    pub trained: bool,
}

/// An encoded conversation.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each id, whether it is trained: contents and end-of-turn tokens of the trained assistant turns.
    pub assistant_mask: Vec<bool>,
    /// The assistant turns: all of them, or the last one with [`Train::LastTurn`].
    pub turns: Vec<Turn>,
    /// The rendered text.
    pub text: String,
    /// Whether tokenising the whole text at once gives other ids, because a token would cross a boundary of the mask.
    /// Sampling also tokenises prompt and answer separately, so these ids are the ones that the model sees.
    pub differs_from_one_shot: bool,
}

impl Encoded {
    /// Number of trained tokens.
    pub fn trained(&self) -> usize {
        self.assistant_mask.iter().filter(|&&trained| trained).count()
    }
}

/// A piece of the rendered text.
struct Piece {
    bytes: Range<usize>,
    kind: PieceKind,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum PieceKind {
    /// Other messages, and the text of the template between messages.
    Context,
    /// The header of the assistant turn of this message.
    Header(usize),
    Content(usize),
    Terminator(usize),
}

/// Encodes a conversation for training. The beginning-of-text token occurs once, whether the template or the
/// tokenizer adds it. It is an error if no token is trained.
pub fn encode_conversation(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Encoded, ChatError> {
    check_arguments(messages)?;
    let trained = messages.iter().enumerate().map(|(message, turn)| match turn.role {
        Role::Assistant => is_trained(turn).map_err(|what| ChatError::LossSwitch { message, what }),
        _ => Ok(false),
    });
    let trained: Vec<bool> = trained.collect::<Result<_, _>>()?;
    let marked = match options.special_tokens {
        SpecialTokens::Refuse if template.plain_special_tokens() => Some(special::mark(tokenizer, messages)),
        SpecialTokens::Refuse => special::refuse(tokenizer, messages).map(|()| None)?,
        SpecialTokens::Parse => None,
        SpecialTokens::Plain => Some(special::mark(tokenizer, messages)),
    };
    let (marked, pieces) = pieces(tokenizer, template, marked.as_deref().unwrap_or(messages), options)?;
    let text = special::without_marks(&marked);
    let mut encoded = Encoded {
        ids: bos(tokenizer, &text),
        assistant_mask: Vec::new(),
        turns: Vec::new(),
        differs_from_one_shot: false,
        text,
    };
    encoded.assistant_mask.resize(encoded.ids.len(), false);
    for piece in &pieces {
        let start = encoded.ids.len();
        encoded.ids.extend(special::encode(tokenizer, &marked[piece.bytes.clone()])?);
        let range = start..encoded.ids.len();
        let in_mask = match piece.kind {
            PieceKind::Context => false,
            PieceKind::Header(message) => {
                let empty = range.end..range.end;
                let (content, terminator) = (empty.clone(), empty);
                encoded.turns.push(Turn { message, header: range, content, terminator, trained: trained[message] });
                false
            }
            PieceKind::Content(message) | PieceKind::Terminator(message) => {
                if let Some(turn) = encoded.turns.last_mut() {
                    match piece.kind {
                        PieceKind::Content(_) => turn.content = range,
                        _ => turn.terminator = range,
                    }
                }
                trained[message]
            }
        };
        encoded.assistant_mask.resize(encoded.ids.len(), in_mask);
    }
    check_bos(tokenizer, &encoded.ids)?;
    if encoded.trained() == 0 {
        return Err(ChatError::NothingToTrain);
    }
    let mut one_shot = bos(tokenizer, &encoded.text);
    one_shot.extend(special::encode(tokenizer, &marked)?);
    encoded.differs_from_one_shot = one_shot != encoded.ids;
    Ok(encoded)
}

/// Encodes a conversation as one example for each trained assistant turn, with the earlier turns as context. Use it
/// for templates that rewrite earlier turns ([`ChatError::NotPrefixStable`]): each answer then follows exactly the
/// prompt that the model sees in sampling.
pub fn encode_each_turn(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<Vec<Encoded>, ChatError> {
    let options = EncodeOptions { train: Train::LastTurn, ..options.clone() };
    // A loss switch that is not supported is an error of the turn that has it.
    let turns = messages.iter().enumerate();
    let turns = turns.filter(|(_, message)| message.role == Role::Assistant && is_trained(message) != Ok(false));
    let encoded: Vec<Encoded> = turns
        .map(|(index, _)| encode_conversation(tokenizer, template, &messages[..=index], &options))
        .collect::<Result<_, _>>()?;
    if encoded.is_empty() { Err(ChatError::NothingToTrain) } else { Ok(encoded) }
}

/// The ids of a prompt: a conversation that the model continues with an assistant turn. Special tokens in contents
/// are parsed as transformers does. It is an error if the template does not write the tools or tool calls.
pub fn encode_prompt(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    render: &RenderOptions,
) -> Result<Vec<u32>, ChatError> {
    let render = RenderOptions { add_generation_prompt: true, ..render.clone() };
    encode_rendered(tokenizer, template, messages, &render)
}

/// The ids of a conversation as the template renders it with these options. It is an error if the template does not
/// write the tools or tool calls.
pub fn encode_rendered(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    render: &RenderOptions,
) -> Result<Vec<u32>, ChatError> {
    let text = template.render(tokenizer, messages, render)?;
    if !render.tools.is_empty() || messages.iter().any(|message| !message.tool_calls.is_empty()) {
        check_all_written(&text, tokenizer, template, messages, render)?;
    }
    let mut ids = bos(tokenizer, &text);
    ids.extend(tokenizer.encode(&text, false)?);
    check_bos(tokenizer, &ids)?;
    Ok(ids)
}

/// Refuses a conversation if the template leaves a part of it out of `text`.
fn check_all_written(
    text: &str,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    render: &RenderOptions,
) -> Result<(), ChatError> {
    check_written(text, messages, !render.tools.is_empty(), |messages, with_tools| {
        let tools = if with_tools { render.tools.clone() } else { Vec::new() };
        template.render(tokenizer, messages, &RenderOptions { tools, ..render.clone() })
    })
}

/// Renders turn by turn, and cuts the text into pieces.
fn pieces(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    options: &EncodeOptions,
) -> Result<(String, Vec<Piece>), ChatError> {
    let render = |until: usize, add_generation_prompt: bool| {
        let options = RenderOptions { add_generation_prompt, ..options.render.clone() };
        template.render(tokenizer, &messages[..until], &options)
    };
    let mut text = render(messages.len(), false)?;
    check_all_written(&text, tokenizer, template, messages, &options.render)?;
    let terminator = crate::stop::terminator(tokenizer, template);
    let terminators: Vec<&str> = terminator.iter().filter_map(|id| special_text(tokenizer, *id)).collect();
    let mut pieces = Vec::new();
    let mut done = 0;
    let mut push = |bytes: Range<usize>, kind: PieceKind| {
        // A header opens a turn even if the template writes none.
        if !bytes.is_empty() || matches!(kind, PieceKind::Header(_)) {
            pieces.push(Piece { bytes, kind });
        }
    };
    let mut turns: Vec<usize> = (0..messages.len()).filter(|&index| messages[index].role == Role::Assistant).collect();
    if options.train == Train::LastTurn {
        turns.drain(..turns.len().saturating_sub(1));
    }
    let only = turns.len() == 1;
    for index in turns {
        let unstable = || ChatError::NotPrefixStable { message: index };
        let prompt = render(index, true)?;
        let mut through = render(index + 1, false)?;
        let ends = |written: &str| {
            let ends = terminators.iter().filter_map(|token| Some((written.rfind(token)?, token.len())));
            ends.min()
        };
        if only
            && !through.starts_with(&prompt)
            && let Some(behind) = text.strip_prefix(&through).map(str::to_owned)
            && let Some(whole) =
                thinking::completed(&messages[index], &prompt, &through, |written| Some(ends(written)?.0))
        {
            text = format!("{whole}{behind}");
            through = whole;
        }
        if !text.starts_with(&through) || !through.starts_with(&prompt) || prompt.len() < done {
            return Err(unstable());
        }
        // The generation prompt is the text that it adds to the same messages. Some templates write nothing before
        // the first turn.
        let before = render(index, false).unwrap_or_default();
        let header = if prompt.starts_with(&before) && before.len() >= done { before.len() } else { prompt.len() };
        let written = &through[prompt.len()..];
        let (end, length) = ends(written).ok_or(ChatError::NoEndOfTurn { message: index })?;
        let said = messages[index].text().rsplit("</think>").next().unwrap_or_default().trim();
        if !messages[index].tool_calls.is_empty() && !written.contains(said) {
            return Err(ChatError::NotWritten { message: Some(index), what: "the text beside the tool call".into() });
        }
        push(done..header, PieceKind::Context);
        push(header..prompt.len(), PieceKind::Header(index));
        push(prompt.len()..prompt.len() + end, PieceKind::Content(index));
        done = prompt.len() + end + length;
        push(prompt.len() + end..done, PieceKind::Terminator(index));
    }
    push(done..text.len(), PieceKind::Context);
    Ok((text, pieces))
}

fn special_text(tokenizer: &Tokenizer, id: u32) -> Option<&str> {
    tokenizer.special_tokens().iter().find(|(_, special)| *special == id).map(|(token, _)| token.as_str())
}

/// The beginning-of-text token, if the tokenizer adds one and the template did not write it.
pub(crate) fn bos(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let written = tokenizer.named_tokens().get("bos_token").is_some_and(|token| text.starts_with(token.as_str()));
    tokenizer.bos_id().filter(|_| tokenizer.adds_bos() && !written).into_iter().collect()
}

pub(crate) fn check_bos(tokenizer: &Tokenizer, ids: &[u32]) -> Result<(), ChatError> {
    match (tokenizer.bos_id(), ids) {
        (Some(bos), [first, second, ..]) if *first == bos && *second == bos => {
            Err(ChatError::DoubleBos(tokenizer.token_of(bos).unwrap_or_default()))
        }
        _ => Ok(()),
    }
}
