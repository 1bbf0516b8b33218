//! Key-value stores at which processes meet.

use std::ffi::{CString, c_int};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use crate::error::{Error, check};
use crate::ffi::{self, RawStore};

/// A store of libtorch's c10d. All processes that open the same address see the same keys.
pub struct Store(*mut RawStore);

// SAFETY: c10d's stores lock themselves; the pointer is owned.
unsafe impl Send for Store {}

impl Store {
    /// Opens the store at `host:port`, or creates it if `serve` is set; port 0 then selects a free port. Returns the port too.
    ///
    /// # Errors
    /// When no store exists there within `limit`, or when the port is in use.
    pub fn tcp(host: &str, port: u16, serve: bool, limit: Duration) -> Result<(Self, u16), Error> {
        if !serve {
            wait_for(host, port, limit)?;
        }
        let (name, mut store, mut bound) = (text(host)?, null_mut(), 0);
        // SAFETY: a NUL-terminated name and two places to write to.
        let made = check(unsafe {
            ffi::hd_store_tcp(
                name.as_ptr(),
                port,
                c_int::from(serve),
                milliseconds(limit),
                &raw mut store,
                &raw mut bound,
            )
        });
        match made {
            Ok(()) => Ok((Self(store), bound)),
            Err(error) if serve => Err(Error::Join(format!(
                "rank 0 cannot hold the store at {host}:{port} ({error}): set MASTER_PORT to a free port"
            ))),
            Err(error) => Err(Error::Join(format!("the store at {host}:{port} refused: {error}"))),
        }
    }

    /// Opens the store in a file that `processes` processes share.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn file(path: &Path, processes: usize, limit: Duration) -> Result<Self, Error> {
        let (name, mut store) = (text(&path.to_string_lossy())?, null_mut());
        // SAFETY: a NUL-terminated path and a place to write to.
        check(unsafe { ffi::hd_store_file(name.as_ptr(), count(processes)?, milliseconds(limit), &raw mut store) })?;
        Ok(Self(store))
    }

    /// The same store, with `prefix/` before all keys.
    ///
    /// # Errors
    /// When the prefix has a NUL.
    pub fn prefix(&self, prefix: &str) -> Result<Self, Error> {
        let (prefix, mut store) = (text(prefix)?, null_mut());
        // SAFETY: a live store, a NUL-terminated prefix, a place to write to.
        check(unsafe { ffi::hd_store_prefix(self.0, prefix.as_ptr(), &raw mut store) })?;
        Ok(Self(store))
    }

    /// The same store over a separate connection, for another thread.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn connection(&self) -> Result<Self, Error> {
        let mut store = null_mut();
        // SAFETY: a live store and a place to write to.
        check(unsafe { ffi::hd_store_clone(self.0, &raw mut store) })?;
        Ok(Self(store))
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let key = text(key)?;
        // SAFETY: a live store and a slice.
        check(unsafe { ffi::hd_store_set(self.0, key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// Waits at most `limit` for a key.
    ///
    /// # Errors
    /// When the key is not set in time, or when the store cannot be reached.
    pub fn get(&self, key: &str, limit: Duration) -> Result<Vec<u8>, Error> {
        let (key, mut data, mut length) = (text(key)?, null_mut(), 0);
        // SAFETY: a live store and places to write to; the bytes are copied and freed.
        unsafe {
            check(ffi::hd_store_get(self.0, key.as_ptr(), milliseconds(limit), &raw mut data, &raw mut length))?;
            let value = std::slice::from_raw_parts(data, length).to_vec();
            libc::free(data.cast());
            Ok(value)
        }
    }

    /// Whether a key is set.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn has(&self, key: &str) -> Result<bool, Error> {
        let (key, mut found) = (text(key)?, 0);
        // SAFETY: a live store and a place to write to.
        check(unsafe { ffi::hd_store_has(self.0, key.as_ptr(), &raw mut found) })?;
        Ok(found != 0)
    }

    /// Adds to a counter, which starts at 0, and returns its new value.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn add(&self, key: &str, number: i64) -> Result<i64, Error> {
        let (key, mut sum) = (text(key)?, 0);
        // SAFETY: a live store and a place to write to.
        check(unsafe { ffi::hd_store_add(self.0, key.as_ptr(), number, &raw mut sum) })?;
        Ok(sum)
    }

    pub(crate) fn raw(&self) -> *const RawStore {
        self.0
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `cpp/store.cpp`, and freed once.
        let _ = check(unsafe { ffi::hd_store_free(self.0) });
    }
}

/// Waits until a server listens at the address; otherwise libtorch would print stack traces.
fn wait_for(host: &str, port: u16, limit: Duration) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let why = match connect(host, port, limit) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if start.elapsed() >= limit {
            return Err(Error::Join(format!(
                "nobody holds the store at {host}:{port} ({why}) after {:.0} s: is rank 0 started, and are MASTER_ADDR and \
                 MASTER_PORT the same on all ranks?",
                limit.as_secs_f64()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn connect(host: &str, port: u16, limit: Duration) -> std::io::Result<()> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut last = std::io::Error::from(ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(&address, limit.max(Duration::from_millis(1))) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

pub(crate) fn text(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Variables(format!("{text:?} has a NUL in it")))
}

pub(crate) fn milliseconds(limit: Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1)
}

pub(crate) fn count(number: usize) -> Result<c_int, Error> {
    c_int::try_from(number).map_err(|_| Error::Variables(format!("{number} is no number of processes")))
}
