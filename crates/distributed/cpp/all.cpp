// One translation unit: reading c10d's headers takes 10 s, which each file would cost again.

#include "group.cpp"
#include "nccl.cpp"
#include "rows.cpp"
#include "store.cpp"
