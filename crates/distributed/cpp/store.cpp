// Key-value stores that processes find each other by.

#include "common.h"

#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>

extern "C" {

// The store at host:port. `serve`: this process holds it; port 0 takes a free one. `bound` gets the port.
char *hd_store_tcp(const char *host, uint16_t port, int serve, int64_t limit, Store **out, uint16_t *bound) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serve != 0;
    // Python's server waits until every rank has counted itself, which c10d does for a client with a number of workers; the number
    // itself is read by servers only.
    options.waitWorkers = serve == 0;
    if (serve == 0)
      options.numWorkers = 1;
    options.timeout = milliseconds(limit);
    // As Python's, so that both can meet at one store.
    options.multiTenant = true;
    auto store = c10::make_intrusive<c10d::TCPStore>(std::string(host), options);
    *bound = store->getPort();
    *out = new Store(std::move(store));
  });
}

// The store in a file that all processes see.
char *hd_store_file(const char *path, int processes, int64_t limit, Store **out) {
  return guarded([&] {
    auto store = c10::make_intrusive<c10d::FileStore>(std::string(path), processes);
    store->setTimeout(milliseconds(limit));
    *out = new Store(std::move(store));
  });
}

char *hd_store_prefix(const Store *store, const char *prefix, Store **out) {
  return guarded([&] { *out = new Store(c10::make_intrusive<c10d::PrefixStore>(std::string(prefix), *store)); });
}

// The same store by a connection of its own, for another thread.
char *hd_store_clone(const Store *store, Store **out) {
  return guarded([&] { *out = new Store((*store)->clone()); });
}

char *hd_store_set(const Store *store, const char *key, const uint8_t *data, size_t length) {
  return guarded([&] { (*store)->set(std::string(key), std::vector<uint8_t>(data, data + length)); });
}

// Waits for the key; `data` is freed by the caller.
char *hd_store_get(const Store *store, const char *key, int64_t limit, uint8_t **data, size_t *length) {
  return guarded([&] {
    const std::string name(key);
    (*store)->wait({name}, milliseconds(limit));
    const auto value = (*store)->get(name);
    *data = static_cast<uint8_t *>(malloc(value.size() + 1));
    if (!value.empty())
      memcpy(*data, value.data(), value.size());
    *length = value.size();
  });
}

char *hd_store_has(const Store *store, const char *key, int *out) {
  return guarded([&] { *out = (*store)->check({std::string(key)}); });
}

char *hd_store_add(const Store *store, const char *key, int64_t number, int64_t *out) {
  return guarded([&] { *out = (*store)->add(std::string(key), number); });
}

char *hd_store_free(Store *store) {
  return guarded([&] { delete store; });
}
}
