//! The place of this process among the others, from the variables of torchrun, `herd launch`, Slurm and Kubernetes.

use std::path::PathBuf;

use crate::error::Error;

/// The address of the store at which the processes meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP store.
    Tcp {
        /// The machine that holds the store.
        host: String,
        /// The port of the store.
        port: u16,
        /// Whether this process holds the store.
        serve: bool,
    },
    /// A file that all processes can access.
    File(PathBuf),
}

/// The place of this process among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The rank, from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// The rank on this machine, which is the index of its GPU.
    pub local_rank: usize,
    /// The store.
    pub address: Address,
    /// The number of restarts. Each attempt has its own keys, so that no process reads those of dead ones.
    pub attempt: u64,
}

/// The variable with the path of a store in a file; it replaces `MASTER_ADDR` and `MASTER_PORT`.
const FILE: &str = "HERD_STORE_FILE";

impl Place {
    /// Reads the environment; `None` for a process that was started alone.
    ///
    /// # Errors
    /// When a variable is missing or is not a number; the error names it.
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::of(&|name| std::env::var(name).ok())
    }

    /// Reads the variables through `get`, in this order: those of torchrun and `herd launch`, of a Slurm step (`srun`), of an indexed
    /// Kubernetes job.
    ///
    /// # Errors
    /// The same as [`Place::from_env`].
    pub fn of(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let number = |name: &str| number(get, name);
        let sizes = ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];
        let ranks = ["RANK", "SLURM_PROCID"];
        // Only within `srun`: a batch script also has SLURM_PROCID and SLURM_NTASKS, but is a single process.
        let slurm = get("RANK").is_none() && get("SLURM_STEP_NUM_TASKS").is_some();
        let (rank, size) = if slurm {
            (number(ranks[1])?, number(sizes[1])?)
        } else {
            (number(ranks[0])?.or(number("JOB_COMPLETION_INDEX")?), number(sizes[0])?)
        };
        let (rank, size) = match (rank, size) {
            (_, None | Some(1)) if get("RANK").is_none() || size == Some(1) => return Ok(None),
            (Some(_), None) => return Err(missing("RANK", "WORLD_SIZE")),
            (None, Some(_)) => return Err(missing(sizes[usize::from(slurm)], ranks[usize::from(slurm)])),
            (Some(rank), Some(size)) => (rank, size),
            (None, None) => return Ok(None),
        };
        if rank >= size {
            return Err(Error::Variables(format!("the rank is {rank} of {size} processes: ranks count from 0")));
        }
        let local_rank = number("LOCAL_RANK")?.or(number("SLURM_LOCALID")?.filter(|_| slurm)).unwrap_or(0);
        let attempt = number("TORCHELASTIC_RESTART_COUNT")?.or(number("SLURM_RESTART_COUNT")?).unwrap_or(0);
        let (rank, size, local_rank) = (rank as usize, size as usize, local_rank as usize);
        let address = match get(FILE) {
            Some(path) => Address::File(path.into()),
            None => tcp(get, rank, slurm)?,
        };
        Ok(Some(Self { rank, size, local_rank, address, attempt }))
    }
}

fn tcp(get: &dyn Fn(&str) -> Option<String>, rank: usize, slurm: bool) -> Result<Address, Error> {
    let nodes = get("SLURM_STEP_NODELIST").or_else(|| get("SLURM_JOB_NODELIST")).filter(|_| slurm);
    let host = get("MASTER_ADDR").or_else(|| nodes.as_deref().and_then(first_host));
    let Some(host) = host else {
        return Err(Error::Variables(format!(
            "there are several processes, but MASTER_ADDR, the machine of rank 0, is not set (on one machine: 127.0.0.1; or \
             set {FILE} to a file that all of them see)"
        )));
    };
    // Jobs on one machine need different ports.
    let job = number(get, "SLURM_JOB_ID")?.filter(|_| slurm).map(|job| 20_000 + job % 10_000);
    let port = number(get, "MASTER_PORT")?.or(job).unwrap_or(29_500);
    let port = u16::try_from(port).map_err(|_| Error::Variables(format!("MASTER_PORT is {port}, which is no port")))?;
    // torchrun's agent may hold the store itself.
    let agent = get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(Address::Tcp { host, port, serve: rank == 0 && !agent })
}

fn number(get: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<u64>, Error> {
    let Some(text) = get(name).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| Error::Variables(format!("{name} is {text:?}; it must be a number from 0")))
}

fn missing(there: &str, missing: &str) -> Error {
    Error::Variables(format!(
        "{there} is set and {missing} is not: a launcher sets both; for one process unset {there}"
    ))
}

/// The first host of a Slurm list such as `gpu[003-005,9],login`.
fn first_host(list: &str) -> Option<String> {
    let first = list.split_once('[');
    let host = match first {
        Some((prefix, rest)) if !prefix.contains(',') => {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let tail = rest.split_once(']').map_or("", |(_, tail)| tail.split(',').next().unwrap_or(""));
            format!("{prefix}{number}{tail}")
        }
        _ => list.split(',').next()?.to_owned(),
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Place>, Error> {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Place::of(&get)
    }

    fn tcp(host: &str, port: u16, serve: bool) -> Address {
        Address::Tcp { host: host.into(), port, serve }
    }

    #[test]
    fn a_process_alone_is_alone() {
        let alone: [&[(&str, &str)]; 4] = [
            &[],
            &[("RANK", "0"), ("WORLD_SIZE", "1")],
            // An array job, and a batch script outside of srun.
            &[("JOB_COMPLETION_INDEX", "3")],
            &[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8"), ("SLURM_JOB_NODELIST", "a,b")],
        ];
        for variables in alone {
            assert_eq!(of(variables).unwrap(), None, "{variables:?}");
        }
    }

    #[test]
    fn torchrun_and_its_agent() {
        let torchrun =
            [("RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "0"), ("MASTER_ADDR", "b7"), ("MASTER_PORT", "12")];
        let found = of(&torchrun).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.address), (0, 4, tcp("b7", 12, true)));
        let agent = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")];
        let found = of(&[&torchrun[..], &agent].concat()).unwrap().unwrap();
        assert_eq!((found.address, found.attempt), (tcp("b7", 12, false), 2));
    }

    #[test]
    fn slurm_and_kubernetes() {
        let srun = [
            ("SLURM_PROCID", "5"),
            ("SLURM_STEP_NUM_TASKS", "16"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[003-005,9].site,login"),
            ("SLURM_JOB_ID", "70123"),
        ];
        let found = of(&srun).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local_rank), (5, 16, 1));
        assert_eq!(found.address, tcp("gpu003.site", 20_123, false));
        assert_eq!(first_host("a1,b[2-3]").as_deref(), Some("a1"));
        let pod = [("JOB_COMPLETION_INDEX", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "job-0.job")];
        let found = of(&pod).unwrap().unwrap();
        assert_eq!((found.rank, found.local_rank, found.address), (1, 0, tcp("job-0.job", 29_500, false)));
    }

    #[test]
    fn mistakes_are_sentences() {
        let wrong: [(&[(&str, &str)], &str); 6] = [
            (&[("RANK", "1")], "RANK is set and WORLD_SIZE is not"),
            (&[("WORLD_SIZE", "2"), ("MASTER_ADDR", "x")], "WORLD_SIZE is set and RANK is not"),
            (&[("RANK", "0"), ("WORLD_SIZE", "2")], "MASTER_ADDR, the machine of rank 0, is not set"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")], "the rank is 2 of 2 processes"),
            (&[("RANK", "x"), ("WORLD_SIZE", "2")], "RANK is \"x\"; it must be a number"),
            (
                &[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "x"), ("MASTER_PORT", "70000")],
                "MASTER_PORT is 70000, which is no port",
            ),
        ];
        for (variables, sentence) in wrong {
            let error = of(variables).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
        let file = [("RANK", "1"), ("WORLD_SIZE", "2"), ("HERD_STORE_FILE", "/tmp/x")];
        assert_eq!(of(&file).unwrap().unwrap().address, Address::File("/tmp/x".into()));
    }
}
