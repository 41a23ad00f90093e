// The same for tests that see LibTorch.
#pragma once

#include "cmake/torch_pch.h"
#include "tests/pch/plain.h"
