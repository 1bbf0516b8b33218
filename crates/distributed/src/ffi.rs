//! The functions of `cpp/`.

use std::ffi::{c_char, c_int, c_void};

use torch_sys::C_tensor;

/// A `c10::intrusive_ptr<c10d::Store>` on the heap.
#[repr(C)]
pub struct RawStore([u8; 0]);
/// A `c10::intrusive_ptr<c10d::Backend>` on the heap.
#[repr(C)]
pub struct RawGroup([u8; 0]);
/// A `c10::intrusive_ptr<c10d::Work>` on the heap.
#[repr(C)]
pub struct RawWork([u8; 0]);

/// Null, or the error message.
pub type Message = *mut c_char;

/// Computes the gradient of this process's rows from that of all rows; null and a message if it fails.
pub type Back = extern "C" fn(*mut c_void, *mut C_tensor, *mut *mut c_char) -> *mut C_tensor;

unsafe extern "C" {
    pub fn hd_store_tcp(
        host: *const c_char,
        port: u16,
        serve: c_int,
        limit: i64,
        out: *mut *mut RawStore,
        bound: *mut u16,
    ) -> Message;
    pub fn hd_store_file(path: *const c_char, processes: c_int, limit: i64, out: *mut *mut RawStore) -> Message;
    pub fn hd_store_prefix(store: *const RawStore, prefix: *const c_char, out: *mut *mut RawStore) -> Message;
    pub fn hd_store_clone(store: *const RawStore, out: *mut *mut RawStore) -> Message;
    pub fn hd_store_set(store: *const RawStore, key: *const c_char, data: *const u8, length: usize) -> Message;
    pub fn hd_store_get(
        store: *const RawStore,
        key: *const c_char,
        limit: i64,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> Message;
    pub fn hd_store_has(store: *const RawStore, key: *const c_char, out: *mut c_int) -> Message;
    pub fn hd_store_add(store: *const RawStore, key: *const c_char, number: i64, out: *mut i64) -> Message;
    pub fn hd_store_free(store: *mut RawStore) -> Message;

    pub fn hd_group_gloo(
        store: *const RawStore,
        rank: c_int,
        size: c_int,
        address: *const c_char,
        limit: i64,
        out: *mut *mut RawGroup,
    ) -> Message;
    pub fn hd_group_nccl(
        store: *const RawStore,
        rank: c_int,
        size: c_int,
        device: c_int,
        limit: i64,
        out: *mut *mut RawGroup,
    ) -> Message;
    pub fn hd_group_free(group: *mut RawGroup) -> Message;
    pub fn hd_all_reduce(group: *const RawGroup, tensor: *mut C_tensor, out: *mut *mut RawWork) -> Message;
    pub fn hd_reduce(group: *const RawGroup, tensor: *mut C_tensor, root: c_int, out: *mut *mut RawWork) -> Message;
    pub fn hd_broadcast(group: *const RawGroup, tensor: *mut C_tensor, root: c_int, out: *mut *mut RawWork) -> Message;
    pub fn hd_all_gather(
        group: *const RawGroup,
        output: *mut C_tensor,
        input: *mut C_tensor,
        out: *mut *mut RawWork,
    ) -> Message;
    pub fn hd_all_to_all(
        group: *const RawGroup,
        output: *mut C_tensor,
        input: *mut C_tensor,
        from: *const i64,
        to: *const i64,
        size: c_int,
        out: *mut *mut RawWork,
    ) -> Message;
    pub fn hd_work_wait(work: *mut RawWork) -> Message;
    pub fn hd_joined(
        out: *mut C_tensor,
        own: *const C_tensor,
        all: *const C_tensor,
        back: Back,
        context: *mut c_void,
    ) -> Message;
    pub fn hd_flight_recorder(out: *mut *mut c_char) -> Message;
}
