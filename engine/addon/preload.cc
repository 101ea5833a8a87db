// Opens TensorFlow's library for the process before the tfjs addon does, with things the addon cannot do:
// environment variables that TensorFlow reads are set for the C side (in a worker thread `process.env` is a copy), and what
// the library writes to standard error while it opens (a line about oneDNN that no setting stops) is kept apart and returned.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "text.h"

namespace {

// Standard error belongs to the whole process: threads take turns.
std::mutex turn;

// The process's own standard error and the memory file that stands in for it; -1 while nothing is set aside.
int saved_stderr = -1;
int captured = -1;

// An old CPU makes TensorFlow abort while it opens: its reason must reach the user, who would see "Aborted" alone.
void ShowCaptured(int) {
  char buffer[4096];
  off_t offset = 0;
  for (ssize_t n; (n = pread(captured, buffer, sizeof buffer, offset)) > 0; offset += n) {
    if (write(saved_stderr, buffer, n) < 0) break;
  }
}

// preload(library: string, ...nameAndValue: string[]): string. Throws what dlopen says.
napi_value Preload(napi_env env, napi_callback_info info) {
  constexpr size_t most = 17;
  napi_value args[most];
  size_t argc = most;
  napi_get_cb_info(env, info, &argc, args, nullptr, nullptr);
  argc = std::min(argc, most);
  const std::lock_guard<std::mutex> lock(turn);
  const std::string library = Text(env, args[0]);
  for (size_t i = 1; i + 1 < argc; i += 2) setenv(Text(env, args[i]).c_str(), Text(env, args[i + 1]).c_str(), 1);

  captured = memfd_create("stderr", MFD_CLOEXEC);
  saved_stderr = captured < 0 ? -1 : fcntl(2, F_DUPFD_CLOEXEC, 3);
  struct sigaction show = {}, previous = {};
  show.sa_handler = ShowCaptured;
  if (saved_stderr >= 0) {
    sigaction(SIGABRT, &show, &previous);
    dup2(captured, 2);
  }
  void *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  const std::string failure = handle ? "" : dlerror();
  std::string text;
  if (saved_stderr >= 0) {
    dup2(saved_stderr, 2);
    sigaction(SIGABRT, &previous, nullptr);
    close(saved_stderr);
    text.resize(lseek(captured, 0, SEEK_END));
    text.resize(pread(captured, &text[0], text.size(), 0));
  }
  if (captured >= 0) close(captured);
  saved_stderr = captured = -1;

  if (!handle) {
    napi_throw_error(env, nullptr, (text + failure).c_str());
    return nullptr;
  }
  napi_value result;
  napi_create_string_utf8(env, text.data(), text.size(), &result);
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value preload;
  napi_create_function(env, "preload", NAPI_AUTO_LENGTH, Preload, nullptr, &preload);
  napi_set_named_property(env, exports, "preload", preload);
  return exports;
}
