// Texts of JavaScript.
#pragma once
#include <node_api.h>

#include <string>

namespace {

inline std::string Text(napi_env env, napi_value value) {
  size_t length = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  std::string text(length + 1, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  text.resize(length);
  return text;
}

}  // namespace
