//! A guest on its own thread that exchanges messages: it sends messages, and waits for the reply to a question. Two
//! of them form a [`super::duet`].

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use crate::sandbox::guest::HostChannel;
use crate::sandbox::{Ending, Guest, Instance, Linked, Stop, THREAD_STACK};

/// The role of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It runs the program.
    Program,
    /// It runs the tests.
    Judge,
}

/// An event from a guest.
pub enum GuestEvent {
    /// A message: its kind and its content.
    Message(u8, Vec<u8>),
    /// The guest has ended.
    Ended(Result<(), Ending>),
}

/// The final state of a guest.
#[derive(Default)]
pub struct Outcome {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Peak size of its memory in bytes.
    pub peak_memory: u64,
    /// Whether it was refused memory.
    pub memory_refused: bool,
    /// Processor time in seconds, if another process spends it.
    pub cpu: f64,
}

/// A guest that exchanges messages.
pub struct Peer {
    heard: Receiver<GuestEvent>,
    replies: Sender<Vec<u8>>,
    thread: JoinHandle<Outcome>,
}

/// Whether a message of that kind waits for a reply: the program asks for its text and for its next work, the judge
/// for its tests and for calls. Other kinds need no reply.
pub fn is_question(kind: u8) -> bool {
    b"PNTC".contains(&kind)
}

impl Peer {
    /// Runs `body` on a thread. It sends messages through the sender, and reads replies from the receiver.
    pub fn spawn(
        body: impl FnOnce(&Sender<GuestEvent>, Receiver<Vec<u8>>) -> (Result<(), Ending>, Outcome) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (tell, heard) = mpsc::channel();
        let (replies, read) = mpsc::channel();
        let thread = std::thread::Builder::new().name("guest".into()).stack_size(THREAD_STACK).spawn(move || {
            let (ended, outcome) = body(&tell, read);
            // If the verdict is already known, nobody receives this.
            tell.send(GuestEvent::Ended(ended)).ok();
            outcome
        })?;
        Ok(Self { heard, replies, thread })
    }

    /// A fresh instance of a module, started by `enter`.
    pub fn sandboxed(
        module: &Linked,
        mut guest: Guest,
        enter: impl FnOnce(&mut Instance) -> Result<(), Ending> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let module = module.clone();
        Self::spawn(move |tell, read| {
            let tell = tell.clone();
            let door: HostChannel = Box::new(move |_, message| {
                let Some((kind, content)) = message.split_first() else { return Ok(Vec::new()) };
                tell.send(GuestEvent::Message(*kind, content.to_vec())).map_err(|_| Stop::Dismissed)?;
                if is_question(*kind) { read.recv().map_err(|_| Stop::Dismissed) } else { Ok(Vec::new()) }
            });
            guest.door = Some(door);
            let mut instance = match Instance::start(&module, guest) {
                Ok(instance) => instance,
                Err(ending) => return (Err(ending), Outcome::default()),
            };
            let ended = enter(&mut instance);
            let peak_memory = instance.memory_size() as u64;
            let guest = instance.guest();
            let outcome = Outcome {
                stdout: std::mem::take(&mut guest.stdout),
                stderr: std::mem::take(&mut guest.stderr),
                peak_memory,
                memory_refused: guest.memory_refused,
                cpu: 0.0,
            };
            (ended, outcome)
        })
    }

    /// The next event.
    pub fn listen(&self) -> GuestEvent {
        let gone = || GuestEvent::Ended(Err(Ending::Trap("the thread of the guest is gone".into())));
        self.heard.recv().unwrap_or_else(|_| gone())
    }

    /// Sends the reply to its question.
    pub fn reply(&self, answer: Vec<u8>) {
        // If the guest has ended, `listen` reports it.
        self.replies.send(answer).ok();
    }

    /// Dismisses the guest; it ends at its next question.
    pub fn dismiss(self) -> Outcome {
        drop((self.heard, self.replies));
        self.thread.join().unwrap_or_default()
    }
}
