// libtorch has the code of Gloo and no headers of it. These five files declare what ProcessGroupGloo.hpp names; no object of
// theirs is made or read here, so their layout has no part in it.
#pragma once
