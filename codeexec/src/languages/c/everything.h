#pragma once
#include <stdint.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <algorithm>
#include <any>
#include <array>
#include <bit>
#include <bitset>
#include <cassert>
#include <cctype>
#include <cerrno>
#include <cfloat>
#include <charconv>
#include <chrono>
#include <cinttypes>
#include <climits>
#include <cmath>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <exception>
#include <format>
#include <forward_list>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iomanip>
#include <ios>
#include <iostream>
#include <istream>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <numbers>
#include <numeric>
#include <optional>
#include <ostream>
#include <queue>
#include <random>
#include <ranges>
#include <ratio>
#include <regex>
#include <set>
#include <span>
#include <sstream>
#include <stack>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <valarray>
#include <variant>
#include <vector>
#include <cxxabi.h>
#include <rand.h>
/* C++ exceptions cannot be caught here (no unwinding): a `throw` reports the type that it throws and traps. */
extern "C" {
__attribute__((import_module("codeexec"), import_name("checked"))) void __codeexec_checked(
    int passed, int is_test, int line, const char *text);
__attribute__((weak)) void *__cxa_allocate_exception(size_t size) noexcept { return malloc(size); }
__attribute__((weak, noreturn)) void __cxa_throw(void *, std::type_info *type, void *(*)(void *)) {
  char *name = abi::__cxa_demangle(type->name(), nullptr, nullptr, nullptr);
  std::string text = std::string("uncaught exception: ") + (name ? name : type->name());
  fprintf(stderr, "%s\n", text.c_str());
  __codeexec_checked(0, 0, 0, text.c_str());
  __builtin_trap();
}
__attribute__((weak, noreturn)) void __cxa_rethrow() { __builtin_trap(); }
}
