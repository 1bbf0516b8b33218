// NCCL groups of a libtorch_cuda.so that was opened at run time. Its header needs those of CUDA and NCCL; the two constructors
// are exported, and everything else that is called is virtual in c10d::Backend.

#include "common.h"

#include <dlfcn.h>

namespace {

using Options = c10::intrusive_ptr<c10d::Backend::Options>;

// More than the objects of libtorch 2.11.0 need (248 and 1,112 bytes); their own destructors free them.
constexpr size_t OPTIONS = 16384, GROUP = 65536;

void *zeroed(size_t bytes) {
  void *memory = ::operator new(bytes);
  memset(memory, 0, bytes);
  return memory;
}

Group make(const Store &store, int rank, int size, int device, milliseconds limit) {
  const auto make_options =
      reinterpret_cast<void (*)(void *, bool)>(dlsym(RTLD_DEFAULT, "_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb"));
  const auto make_group = reinterpret_cast<void (*)(void *, Store, int, int, Options)>(dlsym(
      RTLD_DEFAULT,
      "_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_typeIS3_EEEE"
      "iiNS2_INS0_7OptionsENS5_IS8_EEEE"));
  TORCH_CHECK(make_options != nullptr && make_group != nullptr,
              "libtorch_cuda.so has no NCCL groups of version 2.11.0: `herd doctor` says which file was opened");
  void *place = zeroed(OPTIONS);
  make_options(place, false);
  auto options = Options::unsafe_steal_from_new(static_cast<c10d::Backend::Options *>(place));
  options->timeout = limit;
  place = zeroed(GROUP);
  try {
    make_group(place, store, rank, size, options);
  } catch (...) {
    ::operator delete(place);
    throw;
  }
  auto group = Group::unsafe_steal_from_new(static_cast<c10d::Backend *>(place));
  group->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
  return group;
}

} // namespace

extern "C" {

char *hd_group_nccl(const Store *store, int rank, int size, int device, int64_t limit, Group **out) {
  return guarded([&] { *out = new Group(make(*store, rank, size, device, milliseconds(limit))); });
}
}
