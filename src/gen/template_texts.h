// What the template back end writes: the answer of a model that follows rules, as JSON.
#pragma once

#include <cstdint>
#include <string>

#include "src/gen/generator.h"

namespace whyrec::gen {

std::string IsrfTemplate(const Request& request);  // kinds "item" and "user"

}  // namespace whyrec::gen
