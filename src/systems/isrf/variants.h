// ISRF and its T5 ancestors, the variants of the system `isrf`: each trains, predicts and has its
// rows in a report on its own.
#pragma once

#include <string>

#include "src/base/error.h"

namespace whyrec::systems {

enum class IsrfVariant { kIsrfCode, kElmrec, kPod };

struct IsrfRow {
  IsrfVariant variant;
  const char *name, *doc;
};

inline constexpr IsrfRow kIsrfRows[] = {
    {IsrfVariant::kIsrfCode, "ISRF_CODE", "ISRF as its public code has it"},
    {IsrfVariant::kElmrec, "ELMREC",
     "interaction graph over a trainable node table; no texts, no alignment"},
    {IsrfVariant::kPod, "POD", "ordinal whole-word ids in every task; no graph"},
};

// By name; "": the first.
inline IsrfVariant IsrfVariantOf(const std::string& name) {
  for (const IsrfRow& row : kIsrfRows)
    if (name.empty() || name == row.name) return row.variant;
  Fail(Exit::kInternal, "isrf has no variant ", name);
}

}  // namespace whyrec::systems
