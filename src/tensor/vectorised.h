// For our own CPU kernels that profit from wide vectors.
#pragma once

// Put before a function: compiles it for several vector widths, of which the program picks one at
// start-up. An element-wise loop gives the same bits in all of them, because multiplications and
// additions are never fused into one operation (AVX-512 has such instructions); a loop that adds up
// to one number is not vectorised.
#define WR_VECTORISED \
  __attribute__((optimize("O3", "fp-contract=off"), target_clones("avx512f", "avx2", "default")))
