#include "src/text/pattern.h"

#define ONIG_ESCAPE_UCHAR_COLLISION  // its UChar would clash with that of other libraries
#include <oniguruma.h>
#include <utf8proc.h>

#include <mutex>

#include "src/base/error.h"

namespace whyrec::text {
namespace {

const OnigUChar* Bytes(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

std::string Reason(int code, OnigErrorInfo* info) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int n = onig_error_code_to_str(text, code, info);
  return std::string(reinterpret_cast<char*>(text), static_cast<size_t>(n));
}

// Compiling changes tables of the library, so one expression is compiled at a time.
re_pattern_buffer* Compile(const std::string& regex) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  OnigEncoding utf8 = ONIG_ENCODING_UTF8;
  onig_initialize(&utf8, 1);
  regex_t* compiled = nullptr;
  OnigErrorInfo info;
  const OnigUChar* begin = Bytes(regex);
  const int code = onig_new(&compiled, begin, begin + regex.size(), ONIG_OPTION_NONE, utf8,
                            ONIG_SYNTAX_DEFAULT, &info);
  if (code != ONIG_NORMAL)
    Fail(Exit::kData, "regular expression ", regex, ": ", Reason(code, &info));
  return compiled;
}

}  // namespace

Pattern::Pattern(const std::string& regex) : regex_(Compile(regex), onig_free) {}

std::vector<Pattern::Piece> Pattern::Cut(std::string_view text) const {
  std::vector<Piece> pieces;
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      onig_region_new(), [](OnigRegion* r) { onig_region_free(r, 1); });
  const OnigUChar *begin = Bytes(text), *end = begin + text.size();
  size_t done = 0;
  const auto add = [&](size_t to, bool matched) {
    if (to > done) pieces.push_back({text.substr(done, to - done), matched});
    done = to;
  };
  for (size_t from = 0; from <= text.size();) {
    const int at =
        onig_search(regex_.get(), begin, end, begin + from, end, region.get(), ONIG_OPTION_NONE);
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
      from = match_end +
             static_cast<size_t>(ONIGENC_MBC_ENC_LEN(ONIG_ENCODING_UTF8, begin + match_end));
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
         ONIGENC_IS_CODE_ALPHA(ONIG_ENCODING_UTF8, static_cast<OnigCodePoint>(code));
}

bool IsSpaceCharacter(int32_t code) {
  return code >= 0 && ONIGENC_IS_CODE_SPACE(ONIG_ENCODING_UTF8, static_cast<OnigCodePoint>(code));
}

}  // namespace whyrec::text
