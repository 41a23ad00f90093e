// What most tests include, parsed once for all of them. A test still names what it uses and
// compiles without this file (-DWHYREC_PCH=OFF).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "proto/artefact.pb.h"
#include "proto/config.pb.h"
