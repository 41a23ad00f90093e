// What a call says when it fails.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "src/base/error.h"

namespace whyrec {

// What the call throws, after checking its exit code; "no error" when it throws nothing.
inline std::string ErrorOf(const std::function<void()>& call, Exit code = Exit::kData) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  return "no error";
}

}  // namespace whyrec
