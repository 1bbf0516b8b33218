//! WASI preview 1 error numbers that the sandbox returns.

/// An error number.
pub type Errno = u16;

macro_rules! errnos {
    ($($name:ident = $number:literal;)*) => { $(#[doc = concat!("WASI errno ", $number)] pub const $name: Errno = $number;)* };
}

errnos! {
    BADF = 8;
    EXIST = 20;
    FAULT = 21;
    FBIG = 22;
    INVAL = 28;
    ISDIR = 31;
    MFILE = 33;
    NAMETOOLONG = 37;
    NOENT = 44;
    NOSPC = 51;
    NOTDIR = 54;
    NOTEMPTY = 55;
    NOTSUP = 58;
    ROFS = 69;
    SPIPE = 70;
    NOTCAPABLE = 76;
}
