#pragma once

#include <chrono>

namespace gloo {
class Context {
public:
  void setTimeout(std::chrono::milliseconds timeout); // exported by libtorch_cpu.so
};
} // namespace gloo
