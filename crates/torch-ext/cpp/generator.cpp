// Random number generators that the caller owns.

#include "common.h"

#include <ATen/Context.h>
#include <ATen/core/Generator.h>

#include <mutex>

extern "C" {

// Makes a generator on GPU `cuda`, or on the CPU if `cuda` is negative.
char *tx_generator_new(void **out, int64_t cuda, uint64_t seed) {
  return guarded([&] {
    const auto device = cuda < 0 ? c10::Device(at::kCPU) : c10::Device(at::kCUDA, static_cast<c10::DeviceIndex>(cuda));
    auto shared = at::globalContext().defaultGenerator(device);
    auto own = [&] {
      // clone() copies the state of the shared generator, which another thread may be changing.
      const std::lock_guard<std::mutex> lock(shared.mutex());
      return shared.clone();
    }();
    own.set_current_seed(seed);
    *out = new at::Generator(std::move(own));
  });
}

void tx_generator_free(void *generator) { delete static_cast<at::Generator *>(generator); }

char *tx_generator_uniform(tensor out, void *generator, const int64_t *sizes, size_t dimensions) {
  return guarded([&] {
    const auto &own = *static_cast<at::Generator *>(generator);
    *out = at::rand({sizes, dimensions}, own, at::TensorOptions().dtype(at::kFloat).device(own.device()));
  });
}

// at::dropout with an own generator (at::dropout does not accept one).
char *tx_generator_dropout(tensor out, void *generator, const tensor x, double rate) {
  return guarded([&] {
    TORCH_CHECK(rate >= 0 && rate < 1, "dropout of ", rate, " of the entries; it must be at least 0 and less than 1");
    const auto &own = *static_cast<at::Generator *>(generator);
    const auto mask = at::empty_like(*x, x->options().requires_grad(false)).bernoulli_(1 - rate, own).div_(1 - rate);
    *out = *x * mask;
  });
}
}
