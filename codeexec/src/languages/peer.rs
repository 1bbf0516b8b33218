//! A guest on its own thread that exchanges messages with the host. After a question, it waits for the host's reply.
//! [`super::duet`] runs two of them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use crate::sandbox::guest::HostChannel;
use crate::sandbox::{Ending, Guest, Instance, Linked, Stop, THREAD_STACK};

/// The role of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The guest runs the program.
    Program,
    /// The guest runs the tests.
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
    /// Whether a request for more memory was refused.
    pub memory_refused: bool,
    /// Processor time in seconds if the guest is another process; otherwise 0, since the job's clock counts it.
    pub cpu: f64,
}

/// A guest that exchanges messages.
pub struct Peer {
    heard: Receiver<GuestEvent>,
    replies: Sender<Vec<u8>>,
    thread: JoinHandle<Outcome>,
}

/// Whether the sender of a message of that kind waits for a reply. `P` asks for the program's source, `N` for its next
/// request, `T` for the judge's tests, and `C` is a call of the judge to the program.
pub fn is_question(kind: u8) -> bool {
    b"PNTC".contains(&kind)
}

impl Peer {
    /// Runs `body` on a new thread. `body` sends events through the sender, and reads replies from the receiver.
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

    /// Starts an instance of a module on a new thread, and runs `enter` in it.
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

    /// Waits for the guest's next event.
    pub fn listen(&self) -> GuestEvent {
        let gone = || GuestEvent::Ended(Err(Ending::Trap("the thread of the guest is gone".into())));
        self.heard.recv().unwrap_or_else(|_| gone())
    }

    /// Sends the reply to the guest's question.
    pub fn reply(&self, answer: Vec<u8>) {
        // If the guest has ended, `listen` reports it.
        self.replies.send(answer).ok();
    }

    /// Closes the channels and waits for the guest, which ends at its next message. Returns its final state.
    pub fn dismiss(self) -> Outcome {
        drop((self.heard, self.replies));
        self.thread.join().unwrap_or_default()
    }
}
