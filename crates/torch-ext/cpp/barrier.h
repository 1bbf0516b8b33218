// A barrier that spins for a moment and then sleeps. libgomp's spins for milliseconds: where other programs run on the same
// processors, a thread that waits for one that is not running then takes the processor that it would run on.
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

  // Returns when all threads have called it; what they wrote before can be read then.
  void wait() {
    const uint32_t turn = turn_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1);
      if (sleepers_.load() > 0)
        wake();
      return;
    }
    // About 50 microseconds: what phases differ by where nothing else runs.
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
  // The system compares once more, so that a wake-up in between is not missed.
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
