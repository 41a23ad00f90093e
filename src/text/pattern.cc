#include "src/text/pattern.h"

#define ONIG_ESCAPE_UCHAR_COLLISION  // its UChar would clash with that of other libraries
#include <dlfcn.h>
#include <oniguruma.h>
#include <utf8proc.h>

#include <mutex>

#include "src/base/error.h"

namespace whyrec::text {
namespace {

const OnigUChar* Bytes(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

// What we use of the library. It also exports POSIX's regcomp and regexec; linked, it would put
// them in the C library's place for everybody in the process. So it is opened with its names kept
// to itself.
struct Engine {
  decltype(&onig_initialize) initialize;
  decltype(&onig_new) compile;
  decltype(&onig_free) free;
  decltype(&onig_search) search;
  decltype(&onig_region_new) new_region;
  decltype(&onig_region_free) free_region;
  decltype(&onig_error_code_to_str) explain;
  OnigEncoding utf8;
  OnigSyntaxType* syntax;  // read only
};

Engine OpenEngine() {
  void* library = dlopen("libonig.so.5", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    Fail(Exit::kLaunch, "tokenizers need Oniguruma (Debian: libonig5): ", dlerror());
  const auto find = [&](auto& name, const char* symbol) {
    name = reinterpret_cast<std::remove_reference_t<decltype(name)>>(dlsym(library, symbol));
    if (name == nullptr) Fail(Exit::kLaunch, "libonig.so.5 has no ", symbol);
  };
  Engine engine{};
  find(engine.initialize, "onig_initialize");
  find(engine.compile, "onig_new");
  find(engine.free, "onig_free");
  find(engine.search, "onig_search");
  find(engine.new_region, "onig_region_new");
  find(engine.free_region, "onig_region_free");
  find(engine.explain, "onig_error_code_to_str");
  find(engine.utf8, "OnigEncodingUTF8");
  OnigSyntaxType** syntax = nullptr;
  find(syntax, "OnigDefaultSyntax");
  engine.syntax = *syntax;
  engine.initialize(&engine.utf8, 1);
  return engine;
}

const Engine& Oniguruma() {
  static const Engine engine = OpenEngine();
  return engine;
}

std::string Reason(int code, OnigErrorInfo* info) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int n = Oniguruma().explain(text, code, info);
  return std::string(reinterpret_cast<char*>(text), static_cast<size_t>(n));
}

// Compiling changes tables of the library, so one expression is compiled at a time.
re_pattern_buffer* Compile(const std::string& regex) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  regex_t* compiled = nullptr;
  OnigErrorInfo info;
  const OnigUChar* begin = Bytes(regex);
  const int code = Oniguruma().compile(&compiled, begin, begin + regex.size(), ONIG_OPTION_NONE,
                                       Oniguruma().utf8, Oniguruma().syntax, &info);
  if (code != ONIG_NORMAL)
    Fail(Exit::kData, "regular expression ", regex, ": ", Reason(code, &info));
  return compiled;
}

}  // namespace

Pattern::Pattern(const std::string& regex) : regex_(Compile(regex), Oniguruma().free) {}

std::vector<Pattern::Piece> Pattern::Cut(std::string_view text) const {
  std::vector<Piece> pieces;
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      Oniguruma().new_region(), [](OnigRegion* r) { Oniguruma().free_region(r, 1); });
  const OnigUChar *begin = Bytes(text), *end = begin + text.size();
  size_t done = 0;
  const auto add = [&](size_t to, bool matched) {
    if (to > done) pieces.push_back({text.substr(done, to - done), matched});
    done = to;
  };
  for (size_t from = 0; from <= text.size();) {
    const int at = Oniguruma().search(regex_.get(), begin, end, begin + from, end, region.get(),
                                      ONIG_OPTION_NONE);
    if (at == ONIG_MISMATCH) break;
    if (at < 0) Fail(Exit::kData, "the split rule of the tokenizer: ", Reason(at, nullptr));
    const auto match_begin = static_cast<size_t>(region->beg[0]);
    const auto match_end = static_cast<size_t>(region->end[0]);
    add(match_begin, false);
    add(match_end, true);
    if (match_end > match_begin) {
      from = match_end;
    } else {  // an empty match cuts; go on behind the next character
      if (match_end == text.size()) break;
      from =
          match_end + static_cast<size_t>(ONIGENC_MBC_ENC_LEN(Oniguruma().utf8, begin + match_end));
    }
  }
  add(text.size(), false);
  return pieces;
}

// \w of Unicode's report 18; the one of Oniguruma also takes fractions and leaves out the joiners.
bool IsWordCharacter(int32_t code) {
  if (code < 0) return false;
  const auto category = utf8proc_category(code);
  return code == 0x200c || code == 0x200d ||
         (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ND) ||
         category == UTF8PROC_CATEGORY_PC ||
         ONIGENC_IS_CODE_ALPHA(Oniguruma().utf8, static_cast<OnigCodePoint>(code));
}

bool IsSpaceCharacter(int32_t code) {
  return code >= 0 && ONIGENC_IS_CODE_SPACE(Oniguruma().utf8, static_cast<OnigCodePoint>(code));
}

}  // namespace whyrec::text
