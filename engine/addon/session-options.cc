// Options of the sessions that tfjs-node makes for compiled graphs, which gives them none. The linker puts this in the place of
// the function that it calls (-Wl,--wrap).
#include <stdlib.h>

#include "tensorflow/c/c_api.h"

extern "C" {

TF_SessionOptions *__real_TF_NewSessionOptions();

// With MMT_GRAPHS_AS_WRITTEN set, TensorFlow's rewriting of graphs is off (in a ConfigProto: graph_options.rewrite_options.
// disable_meta_optimizer). It takes seconds of each start, and of graphs of our own ops it makes none that is faster.
TF_SessionOptions *__wrap_TF_NewSessionOptions() {
  TF_SessionOptions *options = __real_TF_NewSessionOptions();
  if (!getenv("MMT_GRAPHS_AS_WRITTEN")) return options;
  const unsigned char config[] = {0x52, 5, 0x52, 3, 0x98, 1, 1};
  TF_Status *status = TF_NewStatus();
  TF_SetConfig(options, config, sizeof config, status);
  TF_DeleteStatus(status);
  return options;
}
}
