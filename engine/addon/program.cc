// The session of a compiled program: a graph of TensorFlow that runs on typed arrays, while JavaScript waits or beside it.
#include <string.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "handles.h"
#include "text.h"
#include "tensorflow/c/c_api.h"

namespace {

struct Session {
  TF_Graph *graph = TF_NewGraph();
  TF_Session *session = nullptr;

  ~Session() {
    const Status status(TF_NewStatus());
    if (session) TF_CloseSession(session, status.get());
    if (session) TF_DeleteSession(session, status.get());
    TF_DeleteGraph(graph);
  }

  // The first output of a node.
  TF_Output Output(const std::string &node) const { return {TF_GraphOperationByName(graph, node.c_str()), 0}; }
};

// What a call feeds: a typed array, which must not change until the call is done.
struct Source {
  TF_DataType type;
  std::vector<int64_t> dims;
  const void *data;
  size_t bytes;
};

// A call of a session. It touches nothing of JavaScript's while it runs.
struct Call {
  std::shared_ptr<Session> session;
  std::vector<TF_Output> feeds, fetches;
  std::vector<const TF_Operation *> targets;
  std::vector<Source> sources;
  std::vector<Tensor> results;
  std::string failure;
  // Of a call beside JavaScript.
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  std::vector<napi_ref> held;

  void Run() {
    std::vector<Tensor> given;
    std::vector<TF_Tensor *> inputs, outputs(fetches.size());
    for (const Source &source : sources) {
      given.emplace_back(TF_AllocateTensor(source.type, source.dims.data(), source.dims.size(), source.bytes));
      memcpy(TF_TensorData(given.back().get()), source.data, source.bytes);
      inputs.push_back(given.back().get());
    }
    const Status status(TF_NewStatus());
    TF_SessionRun(session->session, nullptr, feeds.data(), inputs.data(), inputs.size(), fetches.data(), outputs.data(),
                  outputs.size(), targets.data(), targets.size(), nullptr, status.get());
    for (TF_Tensor *output : outputs)
      if (output) results.emplace_back(output);
    if (TF_GetCode(status.get()) != TF_OK) failure = TF_Message(status.get());
  }
};

std::vector<napi_value> Elements(napi_env env, napi_value array) {
  uint32_t length = 0;
  napi_get_array_length(env, array, &length);
  std::vector<napi_value> elements(length);
  for (uint32_t i = 0; i < length; i++) napi_get_element(env, array, i, &elements[i]);
  return elements;
}

napi_value Failure(napi_env env, const std::string &message) {
  napi_value text, error;
  napi_create_string_utf8(env, message.data(), message.size(), &text);
  napi_create_error(env, nullptr, text, &error);
  return error;
}

std::shared_ptr<Session> *SessionOf(napi_env env, napi_value value) {
  void *session = nullptr;
  napi_get_value_external(env, value, &session);
  return static_cast<std::shared_ptr<Session> *>(session);
}

// The outputs as typed arrays of JavaScript's own memory.
napi_value Results(napi_env env, const Call &call) {
  napi_value results;
  napi_create_array_with_length(env, call.results.size(), &results);
  for (size_t i = 0; i < call.results.size(); i++) {
    const TF_Tensor *tensor = call.results[i].get();
    const size_t bytes = TF_TensorByteSize(tensor);
    const auto type = TF_TensorType(tensor) == TF_INT32 ? napi_int32_array : napi_float32_array;
    void *data = nullptr;
    napi_value buffer, values;
    napi_create_arraybuffer(env, bytes, &data, &buffer);
    if (bytes > 0) memcpy(data, TF_TensorData(tensor), bytes);
    napi_create_typedarray(env, type, bytes / 4, buffer, 0, &values);
    napi_set_element(env, results, i, values);
  }
  return results;
}

// A call from its arguments: session, nodes that are fed, their shapes, their values, nodes that are fetched, and others that
// are to run.
std::unique_ptr<Call> CallOf(napi_env env, napi_callback_info info) {
  napi_value args[6];
  size_t argc = 6;
  napi_get_cb_info(env, info, &argc, args, nullptr, nullptr);
  std::unique_ptr<Call> call(new Call());
  const auto *session = SessionOf(env, args[0]);
  if (!session || !*session) {
    call->failure = "the program is freed";
    return call;
  }
  call->session = *session;
  for (const napi_value node : Elements(env, args[1])) call->feeds.push_back(call->session->Output(Text(env, node)));
  const std::vector<napi_value> shapes = Elements(env, args[2]), values = Elements(env, args[3]);
  for (size_t i = 0; i < values.size(); i++) {
    napi_typedarray_type type;
    size_t length = 0;
    void *data = nullptr;
    napi_get_typedarray_info(env, values[i], &type, &length, &data, nullptr, nullptr);
    Source source = {type == napi_int32_array ? TF_INT32 : TF_FLOAT, {}, data, length * 4};
    size_t count = 1;
    for (const napi_value dim : Elements(env, shapes[i])) {
      source.dims.emplace_back();
      napi_get_value_int64(env, dim, &source.dims.back());
      count *= source.dims.back();
    }
    if (count != length)
      call->failure =
          "input " + std::to_string(i) + " has " + std::to_string(length) + " values, its shape " + std::to_string(count);
    call->sources.push_back(source);
  }
  for (const napi_value node : Elements(env, args[4])) call->fetches.push_back(call->session->Output(Text(env, node)));
  for (const napi_value node : Elements(env, args[5])) call->targets.push_back(call->session->Output(Text(env, node)).oper);
  return call;
}

// run(…): the values of the outputs.
napi_value Run(napi_env env, napi_callback_info info) {
  const std::unique_ptr<Call> call = CallOf(env, info);
  if (call->failure.empty()) call->Run();
  if (call->failure.empty()) return Results(env, *call);
  napi_throw(env, Failure(env, call->failure));
  return nullptr;
}

void Execute(napi_env, void *data) {
  Call *call = static_cast<Call *>(data);
  if (call->failure.empty()) call->Run();
}

void Complete(napi_env env, napi_status, void *data) {
  const std::unique_ptr<Call> call(static_cast<Call *>(data));
  if (call->failure.empty())
    napi_resolve_deferred(env, call->deferred, Results(env, *call));
  else
    napi_reject_deferred(env, call->deferred, Failure(env, call->failure));
  for (const napi_ref ref : call->held) napi_delete_reference(env, ref);
  napi_delete_async_work(env, call->work);
}

// runBeside(…): a promise of the same; the values that are fed must not change until it is kept.
napi_value RunBeside(napi_env env, napi_callback_info info) {
  Call *call = CallOf(env, info).release();
  napi_value args[4], promise, name;
  size_t argc = 4;
  napi_get_cb_info(env, info, &argc, args, nullptr, nullptr);
  for (const napi_value values : Elements(env, args[3])) {
    call->held.emplace_back();
    napi_create_reference(env, values, 1, &call->held.back());
  }
  napi_create_promise(env, &call->deferred, &promise);
  napi_create_string_utf8(env, "mmt program", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, Execute, Complete, call, &call->work);
  napi_queue_async_work(env, call->work);
  return promise;
}

// open(graph: Uint8Array, asWritten: boolean): the session of a GraphDef. With `asWritten` TensorFlow's rewriting of graphs is
// off: it takes seconds of each start, and of graphs of our own ops it makes none that is faster.
napi_value Open(napi_env env, napi_callback_info info) {
  napi_value args[2], external;
  size_t argc = 2, length = 0;
  void *bytes = nullptr;
  bool asWritten = false;
  napi_get_cb_info(env, info, &argc, args, nullptr, nullptr);
  napi_get_typedarray_info(env, args[0], nullptr, &length, &bytes, nullptr, nullptr);
  napi_get_value_bool(env, args[1], &asWritten);
  const Status status(TF_NewStatus());
  auto session = std::make_shared<Session>();
  TF_Buffer *graph = TF_NewBufferFromString(bytes, length);
  TF_ImportGraphDefOptions *importing = TF_NewImportGraphDefOptions();
  TF_GraphImportGraphDef(session->graph, graph, importing, status.get());
  TF_DeleteImportGraphDefOptions(importing);
  TF_DeleteBuffer(graph);
  TF_SessionOptions *options = TF_NewSessionOptions();
  // A ConfigProto: graph_options.rewrite_options.disable_meta_optimizer.
  const unsigned char config[] = {0x52, 5, 0x52, 3, 0x98, 1, 1};
  if (asWritten && TF_GetCode(status.get()) == TF_OK) TF_SetConfig(options, config, sizeof config, status.get());
  if (TF_GetCode(status.get()) == TF_OK) session->session = TF_NewSession(session->graph, options, status.get());
  TF_DeleteSessionOptions(options);
  if (TF_GetCode(status.get()) != TF_OK) {
    napi_throw(env, Failure(env, TF_Message(status.get())));
    return nullptr;
  }
  const auto drop = [](napi_env, void *data, void *) { delete static_cast<std::shared_ptr<Session> *>(data); };
  napi_create_external(env, new std::shared_ptr<Session>(session), drop, nullptr, &external);
  return external;
}

// close(session): frees it, once no call of it runs.
napi_value Close(napi_env env, napi_callback_info info) {
  napi_value session;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &session, nullptr, nullptr);
  if (auto *held = SessionOf(env, session)) held->reset();
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  const std::pair<const char *, napi_callback> functions[] = {
      {"open", Open}, {"run", Run}, {"runBeside", RunBeside}, {"close", Close}};
  for (const auto &[name, callback] : functions) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  }
  return exports;
}
