// Generator: prompt in, text out. Back ends are chosen by name; none of them knows about
// recommendation data beyond what the request carries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace whyrec::gen {

// One call of a chain (isrf 7.1): item+ item- item fused, user+ user- user fused.
struct Request {
  std::string kind;    // "item" | "user"
  int64_t id = 0;      // row of the catalogue
  std::string step;    // "pos" | "neg" | "fused"
  std::string prompt;  // the full prompt, as a language model would get it
  // The facts the prompt was rendered from (JSON text). The template back end writes from these; a
  // language model reads the prompt alone.
  std::string facts;
};

// One record of isrf 7.3 (6).
struct Answer {
  std::string text;  // the summary; empty when missing
  std::string why;
  std::string raw_sha256;  // of the raw answer
  std::string model;       // "template", or the model that wrote the replayed text
  std::string prompt_sha256;
  uint64_t seed = 0;
  int64_t tokens_in = 0, tokens_out = 0;
  std::string parse;  // "json" | "fallback" | "failed" | "template"
};

class Generator {
 public:
  virtual ~Generator() = default;
  virtual std::string name() const = 0;
  // Answers in the order of the requests. Throws Error(kData) when a replay file lacks one.
  virtual std::vector<Answer> Generate(const std::vector<Request>& requests) = 0;
};

// Deterministic text from the facts. Never called a language model in a report: its name is
// "template".
std::unique_ptr<Generator> MakeTemplate();
// Records matched by (kind, id, step, prompt_sha256); the error of a missing one names all four.
std::unique_ptr<Generator> MakeReplay(const std::filesystem::path& jsonl);

}  // namespace whyrec::gen
