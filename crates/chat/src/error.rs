//! What can be wrong with a tokenizer, a template or a conversation.

/// Errors of this crate; each is one sentence that says what to change.
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
    /// A file does not hold what it should.
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
    /// A message has a part that is no text.
    #[error("{0}")]
    NotText(String),
    /// The last message is none that the model could go on with.
    #[error("the last message cannot be continued: {0}")]
    NothingToContinue(String),
    /// The conversation has no assistant turn to train on.
    #[error("the conversation has no assistant turn that is trained")]
    NothingToTrain,
    /// Rendering fewer turns is not the start of rendering more.
    #[error(
        "the chat template is not prefix-stable at message {message}: it renders an earlier part of the conversation \
         differently once more follows (it may drop reasoning or tool calls of earlier turns); train such conversations \
         as one example for each assistant turn, or by their last turn only"
    )]
    NotPrefixStable {
        /// The assistant message at which it was noticed, from 0.
        message: usize,
    },
    /// Something that the template leaves out of its text.
    #[error(
        "{}the chat template does not write {what}: the model would be trained or asked without; use a model folder whose \
         chat template writes it, or leave such records out",
        place(*message)
    )]
    NotWritten {
        /// The message, from 0; none for tools.
        message: Option<usize>,
        /// What is left out.
        what: String,
    },
    /// Arguments of a tool call that are no object.
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
    /// A switch on a turn that cannot be honoured.
    #[error("message {message}: {what}")]
    LossSwitch {
        /// The message, from 0.
        message: usize,
        /// Which, and what to write.
        what: String,
    },
    /// An assistant turn that does not end in a token that ends a turn.
    #[error(
        "message {message}: the assistant's turn is not followed by an end-of-turn token, so the model would never learn to \
         stop; the chat template or eos_token is at fault"
    )]
    NoEndOfTurn {
        /// The assistant message, from 0.
        message: usize,
    },
    /// The beginning-of-text token stands twice.
    #[error("the beginning-of-text token {0} occurs twice at the start: the template and the tokenizer both add it")]
    DoubleBos(String),
    /// Special tokens spelled out in a message.
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
    /// Whether the conversation is at fault, and another one of the same file may be fine.
    #[must_use]
    pub fn is_of_conversation(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::File { .. } | Self::DoubleBos(_) | Self::NotPrefixStable { .. })
    }
}

fn place(message: Option<usize>) -> String {
    message.map_or(String::new(), |message| format!("message {message}: "))
}
