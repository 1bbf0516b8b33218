// A thread barrier that spins for about 50 microseconds and then sleeps on a futex. libgomp's barrier spins for milliseconds. If
// other programs run on the same cores, its waiting threads then occupy the cores that the late threads need.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace herd {

class Barrier {
public:
  explicit Barrier(int64_t threads) : threads_(threads) {}
  Barrier(const Barrier &) = delete;
  Barrier &operator=(const Barrier &) = delete;

  // Returns when all threads have called wait(). Writes before the barrier are visible to all threads after it.
  void wait() {
    const uint32_t turn = turn_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1);
      if (sleepers_.load() > 0)
        wake();
      return;
    }
    // About 50 microseconds: on an idle machine, threads reach the end of a phase within this time of each other.
    for (int spin = 0; spin < 4000; ++spin) {
      if (turn_.load(std::memory_order_acquire) != turn)
        return;
      relax();
    }
    sleepers_.fetch_add(1);
    while (turn_.load() == turn)
      sleep(turn);
    sleepers_.fetch_sub(1);
  }

private:
  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
#if defined(__linux__)
  // The kernel compares turn_ again before it puts the thread to sleep, so that no wake-up is missed.
  void sleep(uint32_t turn) {
    syscall(SYS_futex, reinterpret_cast<uint32_t *>(&turn_), FUTEX_WAIT_PRIVATE, turn, nullptr, nullptr, 0);
  }
  void wake() {
    syscall(SYS_futex, reinterpret_cast<uint32_t *>(&turn_), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
  }
#else
  void sleep(uint32_t) { std::this_thread::yield(); }
  void wake() {}
#endif

  const int64_t threads_;
  std::atomic<int64_t> arrived_{0};
  std::atomic<uint32_t> turn_{0};
  std::atomic<int32_t> sleepers_{0};
};

} // namespace herd
