// Everything that needs libtorch's headers, in one translation unit: reading them takes 13 s, which each file would cost
// again (50 s instead of 190 s on one slow core).

#include "adamw.cpp"
#include "allocations.cpp"
#include "attention.cpp"
#include "cross_entropy.cpp"
#include "decoder.cpp"
#include "embedding.cpp"
#include "fused.cpp"
#include "generator.cpp"
#include "gpu.cpp"
#include "gradients.cpp"
#include "levels.cpp"
#include "linear.cpp"
#include "parallel.cpp"
#include "projections.cpp"
#include "sharing.cpp"
#include "varlen.cpp"
