//! A guest that runs on a thread of its own and talks: it says a message, and where the message is a question it waits for
//! the reply. Two of them make a [`super::duet`].

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use crate::sandbox::guest::HostChannel;
use crate::sandbox::{Ending, Guest, Instance, Linked, Stop, THREAD_STACK};

/// Which part a guest plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It runs the program.
    Program,
    /// It runs the tests.
    Judge,
}

/// What a guest sends to its peer.
pub enum GuestEvent {
    /// A message: its kind, and what it says.
    Message(u8, Vec<u8>),
    /// It says nothing more.
    Ended(Result<(), Ending>),
}

/// What a guest leaves behind.
#[derive(Default)]
pub struct Outcome {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// The largest size of its memory in bytes.
    pub peak_memory: u64,
    /// It was refused memory.
    pub memory_refused: bool,
    /// Processor time in seconds, where this process does not spend it.
    pub cpu: f64,
}

/// A talking guest.
pub struct Peer {
    heard: Receiver<GuestEvent>,
    replies: Sender<Vec<u8>>,
    thread: JoinHandle<Outcome>,
}

/// Whether a message of that kind waits for a reply: the program asks for its text and for what to do next, the judge for
/// its tests and for calls. The others only tell.
pub fn is_question(kind: u8) -> bool {
    b"PNTC".contains(&kind)
}

impl Peer {
    /// Runs `body` on a thread. It tells by the sender, and reads replies from the receiver.
    pub fn spawn(
        body: impl FnOnce(&Sender<GuestEvent>, Receiver<Vec<u8>>) -> (Result<(), Ending>, Outcome) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (tell, heard) = mpsc::channel();
        let (replies, read) = mpsc::channel();
        let thread = std::thread::Builder::new().name("guest".into()).stack_size(THREAD_STACK).spawn(move || {
            let (ended, outcome) = body(&tell, read);
            // Nobody listens any more where the verdict is known.
            tell.send(GuestEvent::Ended(ended)).ok();
            outcome
        })?;
        Ok(Self { heard, replies, thread })
    }

    /// A fresh instance of a module, entered by `enter`.
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

    /// What it says next.
    pub fn listen(&self) -> GuestEvent {
        let gone = || GuestEvent::Ended(Err(Ending::Trap("the thread of the guest is gone".into())));
        self.heard.recv().unwrap_or_else(|_| gone())
    }

    /// Answers its question.
    pub fn reply(&self, answer: Vec<u8>) {
        // A guest that has ended is heard of by `listen`.
        self.replies.send(answer).ok();
    }

    /// Sends it away; it ends at its next question.
    pub fn dismiss(self) -> Outcome {
        drop((self.heard, self.replies));
        self.thread.join().unwrap_or_default()
    }
}
