//! Background writer of checkpoints: training copies the tensors and continues; a thread writes, hashes and syncs the files and
//! renames the folder.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, anyhow};
use tch::{Device, Kind, Tensor};

use crate::persist::checkpoint::{Checkpoints, Manifest};
use crate::persist::state::{self, Named, WeightsFile};
use crate::watch::memory;

/// Memory in bytes that must stay free when the tensors are copied.
const HEADROOM: u64 = 512 << 20;

/// A file of a checkpoint and the tensors in it.
pub(crate) struct Part {
    /// Kind of the file: the weights that make the checkpoint a model or adapter folder, or a file below `state`.
    pub file: PartFile,
    pub tensors: Named,
}

/// Kind of a checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartFile {
    Weights(WeightsFile),
    State(&'static str),
}

/// A checkpoint to write.
pub(crate) struct Snapshot {
    pub manifest: Manifest,
    pub parts: Vec<Part>,
}

/// A checkpoint that is complete on disk.
pub(crate) struct Written {
    pub step: u64,
    pub path: PathBuf,
    pub bytes: u64,
    /// Seconds that the writing thread took.
    pub seconds: f64,
}

type Answer = (anyhow::Result<Written>, Vec<Part>);

/// Handle of the writing thread and its current job.
pub(crate) struct Writer {
    jobs: Option<Sender<Snapshot>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
    /// Whether the tensors that are being written are a copy.
    copied: bool,
    /// Copies of the last checkpoint's tensors, reused for the next one.
    kept: HashMap<String, Tensor>,
}

impl Writer {
    /// Starts the thread. `side` holds the files beside the weights, by name.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(checkpoints: Checkpoints, side: Vec<(String, Vec<u8>)>) -> anyhow::Result<Self> {
        let (jobs, todo) = channel::<Snapshot>();
        let (answer, answers) = channel();
        let side = Arc::new(side);
        let work = move || {
            for Snapshot { manifest, parts } in todo {
                let written = write(&checkpoints, manifest, &parts, &side);
                if answer.send((written, parts)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(work);
        let thread = Some(thread.context("a thread for checkpoints")?);
        Ok(Self { jobs: Some(jobs), answers, thread, busy: false, copied: false, kept: HashMap::new() })
    }

    /// The checkpoint that was finished since the last call, if there is one.
    ///
    /// # Errors
    /// The error of the write.
    pub fn finished(&mut self) -> anyhow::Result<Option<Written>> {
        match self.answers.try_recv() {
            Ok(answer) => self.take(answer).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(anyhow!("the thread that writes checkpoints has ended")),
        }
    }

    /// Waits for the checkpoint that is being written, if there is one.
    ///
    /// # Errors
    /// The error of the write.
    pub fn wait(&mut self) -> anyhow::Result<Option<Written>> {
        if !self.busy {
            return Ok(None);
        }
        let answer = self.answers.recv().context("the thread that writes checkpoints has ended")?;
        self.take(answer).map(Some)
    }

    fn take(&mut self, (written, parts): Answer) -> anyhow::Result<Written> {
        self.busy = false;
        for part in parts.into_iter().filter(|_| self.copied) {
            let key = |name: &str| format!("{:?} {name}", part.file);
            self.kept.extend(part.tensors.into_iter().map(|(name, tensor)| (key(&name), tensor)));
        }
        written
    }

    /// Copies the tensors and sends them to the thread, which must be idle. If there is not enough memory for the copy, the
    /// tensors are sent without a copy, and the call returns after they are written.
    ///
    /// # Errors
    /// The error of the write.
    pub fn write(&mut self, manifest: Manifest, parts: Vec<Part>) -> anyhow::Result<Option<Written>> {
        let _no_grad = tch::no_grad_guard();
        let bytes: usize = parts.iter().flat_map(|part| &part.tensors).map(|(_, tensor)| 4 * tensor.numel()).sum();
        self.copied = !self.kept.is_empty() || memory::available().is_none_or(|free| free > bytes as u64 + HEADROOM);
        if !self.copied {
            self.send(Snapshot { manifest, parts })?;
            return self.wait();
        }
        let mut copies = Vec::with_capacity(parts.len());
        for Part { file, tensors } in parts {
            let mut copied = Vec::with_capacity(tensors.len());
            for (name, tensor) in tensors {
                let kept = self.kept.remove(&format!("{file:?} {name}"));
                let mut copy = match kept.filter(|kept| kept.size() == tensor.size()) {
                    Some(kept) => kept,
                    None => Tensor::f_empty(tensor.size(), (Kind::Float, Device::Cpu))
                        .map_err(torch_ext::OpError::from)
                        .context("the copy that a checkpoint is written from")?,
                };
                copy.copy_(&tensor);
                copied.push((name, copy));
            }
            copies.push(Part { file, tensors: copied });
        }
        // Buffers that only the previous checkpoint used are not needed again.
        self.kept.clear();
        self.send(Snapshot { manifest, parts: copies })?;
        Ok(None)
    }

    fn send(&mut self, snapshot: Snapshot) -> anyhow::Result<()> {
        let sent = self.jobs.as_ref().and_then(|jobs| jobs.send(snapshot).ok());
        sent.context("the thread that writes checkpoints has ended")?;
        self.busy = true;
        Ok(())
    }
}

/// Finishes a checkpoint that is being written, also after an error elsewhere.
impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(
    checkpoints: &Checkpoints,
    manifest: Manifest,
    parts: &[Part],
    side: &[(String, Vec<u8>)],
) -> anyhow::Result<Written> {
    let (start, step) = (Instant::now(), manifest.step);
    let (path, bytes) = checkpoints.write(manifest, |folder| {
        for (name, bytes) in side {
            dataset::write_file(folder.join(name), bytes)?;
        }
        let state = folder.join("state");
        fs::create_dir_all(&state)?;
        let mut digests = Vec::new();
        for part in parts {
            digests.extend(match part.file {
                PartFile::Weights(weights) => weights.write(folder, &part.tensors, Kind::Float)?,
                PartFile::State(name) => state::write(&state.join(name), &part.tensors)?,
            });
        }
        Ok(digests)
    })?;
    Ok(Written { step, path, bytes, seconds: start.elapsed().as_secs_f64() })
}

/// The files that `decorate` writes, by name, with their content.
///
/// # Errors
/// The errors of `decorate`; when a file cannot be read back.
pub(crate) fn side_files(decorate: &dyn Fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let scratch = tempfile::tempdir().context("a scratch folder")?;
    decorate(scratch.path())?;
    let mut files = Vec::new();
    for entry in fs::read_dir(scratch.path())? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn manifest(step: u64) -> Manifest {
        Manifest {
            step,
            trained_tokens: 0,
            tokens: 0,
            seconds: 0.0,
            evaluation: None,
            last_evaluation: None,
            fingerprint: String::new(),
            files: BTreeMap::new(),
        }
    }

    fn parts(tensor: &Tensor) -> Vec<Part> {
        let named = |name: &str| vec![(name.to_owned(), tensor.shallow_clone())];
        vec![
            Part { file: PartFile::Weights(WeightsFile::Model), tensors: named("w") },
            Part { file: PartFile::State("moments.safetensors"), tensors: named("exp_avg.w") },
        ]
    }

    #[test]
    fn what_changes_after_the_copy_is_not_in_the_file() {
        torch_ext::init();
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| Checkpoints::open(dir.path().join(name), 9, 0).unwrap();
        let side = vec![("config.json".to_owned(), b"{}".to_vec())];
        let mut writer = Writer::start(open("behind"), side.clone()).unwrap();
        let weight = Tensor::zeros([1 << 20], (Kind::Float, Device::Cpu));
        for step in 1..=3 {
            let _ = weight.shallow_clone().fill_(step as f64);
            // The same, written by this thread.
            write(&open("at once"), manifest(step), &parts(&weight), &side).unwrap();
            let before = writer.wait().unwrap().map(|written| written.step);
            assert_eq!(before, (step > 1).then(|| step - 1));
            writer.write(manifest(step), parts(&weight)).unwrap();
            // Training changes the weights immediately.
            let _ = weight.shallow_clone().fill_(-1.0);
        }
        assert_eq!(writer.wait().unwrap().unwrap().step, 3);
        assert!(writer.wait().unwrap().is_none() && writer.finished().unwrap().is_none());
        for step in 1..=3 {
            for file in ["model.safetensors", "state/moments.safetensors", "config.json", "checkpoint.json"] {
                let read = |name: &str| fs::read(dir.path().join(format!("{name}/step-{step}/{file}"))).unwrap();
                assert!(read("behind") == read("at once"), "{file} of step {step}");
            }
        }
    }

    #[test]
    fn a_failure_is_told_and_the_next_one_may_succeed() {
        torch_ext::init();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("c");
        let mut writer = Writer::start(Checkpoints::open(folder.clone(), 1, 0).unwrap(), Vec::new()).unwrap();
        let weight = Tensor::ones([4], (Kind::Float, Device::Cpu));
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        writer.write(manifest(1), parts(&weight)).unwrap();
        let error = format!("{:#}", writer.wait().err().unwrap());
        assert!(error.contains("cannot save the checkpoint"), "{error}");
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        writer.write(manifest(2), parts(&weight)).unwrap();
        assert_eq!(writer.wait().unwrap().unwrap().step, 2);
    }

    #[test]
    fn the_checkpoint_under_way_is_finished_before_the_end() {
        torch_ext::init();
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::start(Checkpoints::open(dir.path().to_owned(), 1, 0).unwrap(), Vec::new()).unwrap();
        let weight = Tensor::ones([1 << 22], (Kind::Float, Device::Cpu));
        writer.write(manifest(5), parts(&weight)).unwrap();
        drop(writer);
        assert!(dir.path().join("step-5/checkpoint.json").is_file());
    }

    /// Uses the sizes of SmolLM2-135M's weights and moments. `cargo test -p trainer --lib -- --ignored --nocapture pause`
    #[test]
    #[ignore = "a measurement"]
    fn the_pause_is_a_copy() {
        torch_ext::init();
        let dir = tempfile::tempdir_in(".").unwrap();
        let mut writer = Writer::start(Checkpoints::open(dir.path().to_owned(), 1, 0).unwrap(), Vec::new()).unwrap();
        let all: Named = (0..405)
            .map(|number| (format!("w{number}"), Tensor::rand([1_000_000], (Kind::Float, Device::Cpu))))
            .collect();
        let named = || all.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect::<Named>();
        for step in 1..=3 {
            let start = Instant::now();
            let fresh: Vec<Tensor> = all.iter().map(|(_, tensor)| tensor.copy()).collect();
            let copy = start.elapsed().as_secs_f64();
            drop(fresh);
            let start = Instant::now();
            writer
                .write(manifest(step), vec![Part { file: PartFile::State("all.safetensors"), tensors: named() }])
                .unwrap();
            let pause = start.elapsed().as_secs_f64();
            let written = writer.wait().unwrap().unwrap();
            eprintln!("1.62 GB: copy {copy:.3} s, pause {pause:.3} s, written in {:.2} s", written.seconds);
        }
    }
}
