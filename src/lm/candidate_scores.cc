#include "src/lm/candidate_scores.h"

#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "src/base/error.h"

namespace whyrec::lm {

CandidateTree MergePrefixes(const Candidates& candidates, const CandidateOptions& options) {
  const auto piece = [&](int64_t token) {
    return options.pieces.empty() ? token : options.pieces.at(static_cast<size_t>(token));
  };
  CandidateTree out{.tree = {.tokens = {piece(options.start)}, .parents = {-1}}, .paths = {}};
  std::map<std::pair<int64_t, int64_t>, int64_t> children;  // (node, token) -> node
  for (const std::vector<int64_t>& candidate : candidates) {
    std::vector<int64_t> path = {0};
    for (const int64_t token : candidate) {
      const auto [child, is_new] =
          children.try_emplace({path.back(), token}, std::ssize(out.tree.tokens));
      if (is_new) {
        out.tree.tokens.push_back(piece(token));
        out.tree.parents.push_back(path.back());
      }
      path.push_back(child->second);
    }
    out.paths.push_back(std::move(path));
  }
  return out;
}

std::vector<std::vector<double>> CandidateScores(const T5& model, const at::Tensor& memory,
                                                 const std::optional<at::Tensor>& memory_mask,
                                                 std::span<const Candidates> candidates,
                                                 const CandidateOptions& options) {
  WR_CHECK(memory.size(0) == std::ssize(candidates), memory.size(0), " rows of memory for ",
           candidates.size(), " samples");
  const c10::NoGradGuard no_grad;
  std::vector<TokenTree> trees;
  std::vector<std::vector<std::vector<int64_t>>> paths;
  for (const Candidates& of_sample : candidates) {
    CandidateTree merged = MergePrefixes(of_sample, options);
    trees.push_back(std::move(merged.tree));
    paths.push_back(std::move(merged.paths));
  }
  const at::Tensor pieces = options.pieces.empty() ? at::Tensor() : at::tensor(options.pieces);
  const at::Tensor logits =
      model.DecodeTrees(trees, memory, memory_mask, pieces).to(at::kFloat);  // [B,N,P]
  if (pieces.defined())
    logits.select(2, options.start).fill_(-std::numeric_limits<float>::infinity());

  const int64_t nodes = logits.size(1);
  std::vector<int64_t> rows, tokens;  // of every factor of every candidate
  for (size_t b = 0; b < candidates.size(); ++b) {
    for (size_t c = 0; c < candidates[b].size(); ++c) {
      for (const int64_t node : paths[b][c]) rows.push_back(static_cast<int64_t>(b) * nodes + node);
      tokens.insert(tokens.end(), candidates[b][c].begin(), candidates[b][c].end());
      tokens.push_back(options.eos);
    }
  }
  const at::Tensor row = at::tensor(rows).to(logits.device());
  const at::Tensor token = at::tensor(tokens).to(logits.device());
  const at::Tensor factors = (logits.flatten().index_select(0, row * logits.size(2) + token) -
                              at::logsumexp(logits, {2}).flatten().index_select(0, row))
                                 .cpu();
  const float* factor = factors.const_data_ptr<float>();
  std::vector<std::vector<double>> scores(candidates.size());
  for (size_t b = 0; b < candidates.size(); ++b) {
    for (const std::vector<int64_t>& path : paths[b]) {
      double& score = scores[b].emplace_back(0);
      for (size_t i = 0; i < path.size(); ++i) score += *factor++;
    }
  }
  return scores;
}

std::vector<std::vector<decode::Hypothesis>> RankCandidates(
    const T5& model, const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
    std::span<const Candidates> candidates, const CandidateOptions& options) {
  const auto scores = CandidateScores(model, memory, memory_mask, candidates, options);
  std::vector<std::vector<decode::Hypothesis>> out(candidates.size());
  for (size_t b = 0; b < candidates.size(); ++b) {
    for (size_t c = 0; c < candidates[b].size(); ++c) {
      const auto length = static_cast<double>(candidates[b][c].size() + 1);
      out[b].push_back({candidates[b][c], scores[b][c] / std::pow(length, options.length_penalty)});
    }
    std::stable_sort(out[b].begin(), out[b].end(),
                     [](const auto& x, const auto& y) { return x.score > y.score; });
  }
  return out;
}

}  // namespace whyrec::lm
