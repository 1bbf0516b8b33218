// Process groups and their collectives, as c10d::Backend: Gloo and NCCL look the same through it.

#include "common.h"

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <memory>

namespace c10d {
// Exported; its header needs a class that is not.
std::string dump_fr_trace_json(bool includeCollectives, bool onlyActive);
} // namespace c10d

extern "C" {

// A group over TCP. `address`: the own address to listen on; null for the interface that GLOO_SOCKET_IFNAME names, or the
// host name's.
char *hd_group_gloo(const Store *store, int rank, int size, const char *address, int64_t limit, Group **out) {
  return guarded([&] {
    using Gloo = c10d::ProcessGroupGloo;
    c10::intrusive_ptr<Gloo::Options> options;
    if (address == nullptr) {
      options = Gloo::Options::create_default(milliseconds(limit));
    } else {
      options = Gloo::Options::create(milliseconds(limit));
      options->devices.push_back(Gloo::createDeviceForHostname(std::string(address)));
    }
    *out = new Group(c10::make_intrusive<Gloo>(*store, rank, size, options));
  });
}

char *hd_group_free(Group *group) {
  return guarded([&] { delete group; });
}

char *hd_all_reduce(const Group *group, const tensor t, Work **out) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*t};
    *out = new Work((*group)->allreduce(tensors));
  });
}

char *hd_reduce(const Group *group, const tensor t, int root, Work **out) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*t};
    c10d::ReduceOptions options;
    options.rootRank = root;
    *out = new Work((*group)->reduce(tensors, options));
  });
}

char *hd_broadcast(const Group *group, const tensor t, int root, Work **out) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*t};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    *out = new Work((*group)->broadcast(tensors, options));
  });
}

// `output` is `input` of all ranks one after another.
char *hd_all_gather(const Group *group, const tensor output, const tensor input, Work **out) {
  return guarded([&] { *out = new Work((*group)->_allgather_base(*output, *input)); });
}

// Sends `to[k]` elements to rank k, and receives `from[k]` of it.
char *hd_all_to_all(const Group *group, const tensor output, const tensor input, const int64_t *from, const int64_t *to,
                    int size, Work **out) {
  return guarded([&] {
    std::vector<int64_t> receive(from, from + size), send(to, to + size);
    *out = new Work((*group)->alltoall_base(*output, *input, receive, send));
  });
}

// Waits, and frees the handle.
char *hd_work_wait(Work *work) {
  return guarded([&] {
    const std::unique_ptr<Work> own(work);
    (*own)->wait();
  });
}

// libtorch's flight recorder of this process as JSON: its last TORCH_FR_BUFFER_SIZE collectives.
char *hd_flight_recorder(char **out) {
  return guarded([&] { *out = strdup(c10d::dump_fr_trace_json(true, false).c_str()); });
}
}
