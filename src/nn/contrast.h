// Contrastive heads of the baselines. Each is a sum over n anchors -> scalar, differentiable in all
// tensors, computed in fp32 where they are of a half type. The anchors may be a slice of a batch:
// the slices of a batch against the same keys add up to the whole, over micro-batches and ranks.
//
// Letters: n anchors in rows [first, first + n) of a batch of N, d width, tau temperature,
// sim(a, b) their dot product or cosine.
#pragma once

#include "src/nn/at.h"

namespace whyrec::nn {

enum class Similarity { kDot, kCosine };

// One-way InfoNCE within the batch (van den Oord et al. 2018), as in XSimGCL (Yu et al. 2023):
// -log( e^(cos(a_i, k_p)/tau) / sum_j e^(cos(a_i, k_j)/tau) ) with p = first + i and j over all N
// keys. anchors [n,d], keys [N,d].
at::Tensor InBatchContrastSum(const at::Tensor& anchors, const at::Tensor& keys, int64_t first,
                              double tau);

// NT-Xent (Chen et al. 2020, equation 1; DuoRec: Qiu et al. 2022): `views` [2B,d] holds B first
// views, then the B second ones; row r's positive is row (r + B) mod 2B, its negatives are the
// other 2B - 2. anchors [n,d]: rows first .. first + n - 1 of `views`.
at::Tensor NtXentSum(const at::Tensor& anchors, const at::Tensor& views, int64_t first, double tau,
                     Similarity similarity);

// InfoNCE against a whole table, as in NCL (Lin et al. 2022): anchor i's positive is row rows[i] of
// `table` [m,d], its negatives are all other rows. rows i64 [n].
at::Tensor TableContrastSum(const at::Tensor& anchors, const at::Tensor& table,
                            const at::Tensor& rows, double tau);

// Negative views draw together and away from positive ones (EC4SRec: Wang et al. 2022), a
// supervised contrast (Khosla et al. 2020, equation 2) whose anchors are the negative views alone:
// the mean over other negative views m_j of
// -log( e^(cos(a_i, m_j)/tau) / (sum_{j' != i} e^(cos(a_i, m_j')/tau) + sum_p e^(cos(a_i, p)/tau))
// ). anchors [n,d]: rows first .. first + n - 1 of `negatives` [N,d]; positives [P,d]. 0 where N
// is 1.
at::Tensor NegativeViewsContrastSum(const at::Tensor& anchors, const at::Tensor& negatives,
                                    int64_t first, const at::Tensor& positives, double tau);

// Scores of CTRL (Li et al. 2023) by late interaction: S_ij = sum_m max_m' <a_im, b_jm'>.
// a [n,M,d], b [N,M',d] -> [n,N].
at::Tensor LateInteraction(const at::Tensor& a, const at::Tensor& b);

// Binary cross-entropy of all pairs: anchor i belongs with column first + i and no other. Sum over
// n rows and N columns of -log sigmoid(S) there and -log sigmoid(-S) elsewhere. scores [n,N].
at::Tensor PairwiseBceSum(const at::Tensor& scores, int64_t first);

// One positive and m given negatives: -log( e^(sim(a, p)/tau) / (e^(sim(a, p)/tau) +
// sum_j e^(sim(a, n_j)/tau)) ). anchors, positives [n,d]; negatives [n,m,d], or [m,d] shared.
at::Tensor GivenNegativesContrastSum(const at::Tensor& anchors, const at::Tensor& positives,
                                     const at::Tensor& negatives, double tau,
                                     Similarity similarity);

}  // namespace whyrec::nn
