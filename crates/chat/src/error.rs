//! Errors of tokenizers, templates and conversations.

/// Errors of this crate. Each is one sentence that says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// A file has unexpected content.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A text cannot be encoded, or ids cannot be decoded.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The template does not compile or render.
    #[error("chat template: {0}")]
    Template(String),
    /// The template itself refuses the conversation (`raise_exception`).
    #[error("the chat template refuses this conversation: {0}")]
    Raised(String),
    /// A message has a part that is not text.
    #[error("{0}")]
    NotText(String),
    /// The last message is not one that the model could continue.
    #[error("the last message cannot be continued: {0}")]
    NothingToContinue(String),
    /// The conversation has no assistant turn to train on.
    #[error("the conversation has no assistant turn that is trained")]
    NothingToTrain,
    /// The rendering of fewer turns is not a prefix of the rendering of more turns.
    #[error(
        "the chat template is not prefix-stable at message {message}: it renders an earlier part of the conversation \
         differently once more follows (it may drop reasoning or tool calls of earlier turns); train such conversations \
         as one example for each assistant turn, or by their last turn only"
    )]
    NotPrefixStable {
        /// The assistant message at which this was found, from 0.
        message: usize,
    },
    /// The template leaves something out of its text.
    #[error(
        "{}the chat template does not write {what}: the model would be trained or asked without; use a model folder whose \
         chat template writes it, or leave such records out",
        place(*message)
    )]
    NotWritten {
        /// The message, from 0; `None` for tools.
        message: Option<usize>,
        /// What the template leaves out.
        what: String,
    },
    /// The arguments of a tool call are not an object.
    #[error(
        "message {message}: the arguments of the call of the tool {name:?} are neither an object nor a text that holds one as \
         JSON"
    )]
    Arguments {
        /// The message, from 0.
        message: usize,
        /// The tool.
        name: String,
    },
    /// A loss switch on a turn is not supported.
    #[error("message {message}: {what}")]
    LossSwitch {
        /// The message, from 0.
        message: usize,
        /// Which switch, and what to write instead.
        what: String,
    },
    /// An assistant turn does not end with a token that ends a turn.
    #[error(
        "message {message}: the assistant's turn is not followed by an end-of-turn token, so the model would never learn to \
         stop; the chat template or eos_token is at fault"
    )]
    NoEndOfTurn {
        /// The assistant message, from 0.
        message: usize,
    },
    /// The beginning-of-text token occurs twice.
    #[error("the beginning-of-text token {0} occurs twice at the start: the template and the tokenizer both add it")]
    DoubleBos(String),
    /// A message contains the text of a special token.
    #[error(
        "message {message} contains the special token {token} as text: it would be read as a control token; remove it, or \
         tokenise such texts as plain text (--plain-special-tokens)"
    )]
    SpecialInContent {
        /// The message, from 0.
        message: usize,
        /// The token.
        token: String,
    },
}

impl ChatError {
    /// Whether the conversation is at fault, so that other conversations of the same file may be valid.
    #[must_use]
    pub fn is_of_conversation(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::File { .. } | Self::DoubleBos(_) | Self::NotPrefixStable { .. })
    }
}

fn place(message: Option<usize>) -> String {
    message.map_or(String::new(), |message| format!("message {message}: "))
}
