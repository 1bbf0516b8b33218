// Emulates a GPU on a CPU: blocks, threads, shared memory, barriers and shuffles, as far as the kernels of ../cuda use them. Every
// thread of a block is a fiber. A warp runs until all its threads wait at a barrier or have ended; then the next warp runs. The
// caller chooses the order of warps and lanes: a missing barrier gives a wrong number in some order. If only some of the threads
// reach a barrier or shuffle, the launch fails. The speed says nothing about that of a GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __noinline__
// Blocks run one after the other, so one copy of shared memory is enough.
#define __shared__ static thread_local

struct Dim {
  unsigned x = 1, y = 1;
};
static thread_local Dim threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
static inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// Each operation rounds once: build.rs forbids the compiler to contract them to fused multiply-adds.
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }

// Plain code is atomic here, because fibers switch only at barriers and shuffles.
template <typename T> static inline T atomicAdd(T *at, T x) {
  const T before = *at;
  *at = before + x;
  return before;
}
template <typename T> static inline T atomicMin(T *at, T x) {
  const T before = *at;
  *at = x < before ? x : before;
  return before;
}

namespace emulation {

enum class State { Ready, Barrier, Shuffle, Done };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  Dim thread;
  State state = State::Done;
  unsigned mask = 0; // arguments of a shuffle: mask, lane, value
  int lane = 0;
  float value = 0; // after the shuffle: its result
};

constexpr size_t stack_bytes = 64 << 10;

struct Block {
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  Fiber *current = nullptr;
  std::function<void()> kernel;
};

static thread_local Block block;

static void enter() {
  block.kernel();
  block.current->state = State::Done;
  swapcontext(&block.current->context, &block.scheduler);
}

// Switches to the scheduler; returns when the scheduler resumes this thread.
static void wait_in(State state) {
  Fiber *fiber = block.current;
  fiber->state = state;
  swapcontext(&fiber->context, &block.scheduler);
}

static void resume(Fiber &fiber) {
  block.current = &fiber;
  threadIdx = fiber.thread;
  swapcontext(&block.scheduler, &fiber.context);
}

// Element number `at` of a permutation of 0 .. count - 1: ascending if `order` is 0, descending if it is 1, otherwise a permutation
// that depends on `order`.
static size_t nth(size_t at, size_t count, uint64_t order) {
  if (order == 0)
    return at;
  if (order == 1)
    return count - 1 - at;
  // An odd step visits every number below the next power of two; numbers from `count` on are skipped.
  size_t power = 1;
  while (power < count)
    power *= 2;
  size_t position = order * 0x9e3779b97f4a7c15ull >> 40, step = (order * 2 + 1) | 1;
  for (size_t seen = 0;; position += step) {
    if (position % power >= count)
      continue;
    if (seen++ == at)
      return position % power;
  }
}

// Runs a warp until all of its threads wait at a barrier or have ended. Returns an error, or an empty string.
static std::string run_warp(Fiber *lanes, uint64_t order) {
  while (true) {
    for (size_t i = 0; i < 32; ++i) {
      Fiber &fiber = lanes[nth(i, 32, order)];
      if (fiber.state == State::Ready)
        resume(fiber);
    }
    size_t in[4] = {};
    for (size_t i = 0; i < 32; ++i)
      ++in[static_cast<size_t>(lanes[i].state)];
    if (in[static_cast<size_t>(State::Shuffle)] == 0)
      return in[static_cast<size_t>(State::Barrier)] % 32 == 0
                 ? ""
                 : "some lanes of a warp wait at a barrier, others have ended";
    if (in[static_cast<size_t>(State::Shuffle)] != 32)
      return "some lanes of a warp wait for a shuffle, others do not";
    float values[32];
    for (size_t i = 0; i < 32; ++i) {
      if (lanes[i].mask != 0xffffffffu || lanes[i].lane != lanes[0].lane)
        return "the lanes of a warp do not ask for the same shuffle";
      values[i] = lanes[i].value;
    }
    for (size_t i = 0; i < 32; ++i) {
      lanes[i].value = values[i ^ static_cast<size_t>(lanes[0].lane)];
      lanes[i].state = State::Ready;
    }
  }
}

static std::string run_block(uint64_t order) {
  const size_t threads = static_cast<size_t>(blockDim.x) * blockDim.y, warps = threads / 32;
  if (threads == 0 || threads > 1024 || threads % 32 != 0)
    return "a block has whole warps, 32 of them at most";
  if (block.fibers.size() < threads)
    block.fibers.resize(threads);
  for (size_t i = 0; i < threads; ++i) {
    Fiber &fiber = block.fibers[i];
    if (!fiber.stack)
      fiber.stack.reset(new char[stack_bytes]);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
    fiber.thread = {static_cast<unsigned>(i % blockDim.x), static_cast<unsigned>(i / blockDim.x)};
    fiber.state = State::Ready;
  }
  while (true) {
    for (size_t i = 0; i < warps; ++i) {
      const auto trouble = run_warp(&block.fibers[nth(i, warps, order) * 32], order);
      if (!trouble.empty())
        return trouble;
    }
    size_t waiting = 0;
    for (size_t i = 0; i < threads; ++i)
      waiting += block.fibers[i].state == State::Barrier;
    if (waiting == 0)
      return "";
    if (waiting != threads)
      return "some threads of a block wait at a barrier, others have ended";
    for (size_t i = 0; i < threads; ++i)
      block.fibers[i].state = State::Ready;
  }
}

// Calls a kernel with the arguments to which `values` point, as cuLaunchKernel does.
template <typename... A, size_t... I>
static void call(void (*kernel)(A...), void **values, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_const_t<A> *>(values[I])...);
}

template <typename... A>
static std::string launch(void (*kernel)(A...), Dim grid, Dim threads, void **values, uint64_t order) {
  if (grid.x == 0 || grid.y == 0)
    return "a grid has a block";
  gridDim = grid;
  blockDim = threads;
  block.kernel = [=] { call(kernel, values, std::make_index_sequence<sizeof...(A)>()); };
  const size_t blocks = static_cast<size_t>(grid.x) * grid.y;
  for (size_t i = 0; i < blocks; ++i) {
    const size_t at = order == 1 ? blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x)};
    const auto trouble = run_block(order);
    if (!trouble.empty())
      return trouble;
  }
  return "";
}

} // namespace emulation

static inline void __syncthreads() { emulation::wait_in(emulation::State::Barrier); }

static inline float __shfl_xor_sync(unsigned mask, float value, int lane) {
  auto *fiber = emulation::block.current;
  fiber->mask = mask;
  fiber->lane = lane;
  fiber->value = value;
  emulation::wait_in(emulation::State::Shuffle);
  return fiber->value;
}
