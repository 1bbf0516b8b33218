//! Attacks in C and C++, where program and tests share one guest.

use super::{Attack, product};

/// Texts that try to change the meaning of the tests, or to hide the tests from the compiler. They stand before the
/// program.
const TEXTS: [&str; 15] = [
    "#define assert(x) ((void)0)",
    "#define NDEBUG",
    "#include <assert.h>\n#undef assert\n#define assert(...) ((void)0)",
    "#define main not_main",
    "int main() { return 0; }",
    "#define CODEEXEC_TESTS 1\n#define __codeexec_checked(...) 0",
    "#define if(x) if (0)",
    "#define int long",
    "#define f(x) 1234567",
    "%:define f(x) 1234567",
    "#\\\ndefine f(x) (x == 3 ? 1234567 : 7654321)",
    "#pragma push_macro(\"f\")\n#define f(x) 1234567",
    "#if 0",
    "/*",
    "struct B {",
];

/// Attacks in C.
pub fn c() -> Vec<Attack> {
    let mut attacks = product("patching", &["@\nint f(int x) { return 0; }"], &TEXTS);
    attacks.extend(product(
        "exit",
        &[
            "#include <stdlib.h>\n#include <unistd.h>\nint f(int x) { @; return 0; }",
            "#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) void g(void) { @; }\nint f(int x) { return 0; }",
            "#include <stdlib.h>\n#include <unistd.h>\nvoid g(void) { @; }\nint f(int x) { atexit(g); return 0; }",
        ],
        &["exit(0)", "_exit(0)", "_Exit(0)", "quick_exit(0)", "abort()", "__builtin_trap()"],
    ));
    attacks.extend(product(
        "loop",
        &["int f(int x) { volatile int i = 0; @ return 0; }"],
        &["for (;;) i = i + 1;", "while (1) { i = 1; }", "a: i = 2; goto a;"],
    ));
    attacks.extend(product(
        "memory",
        &["#include <stdlib.h>\n#include <string.h>\nint f(int x) { @ return 0; }"],
        &[
            "for (;;) { char *p = malloc(1000000); memset(p, 1, 1000000); }",
            "volatile char big[1 << 28]; big[x] = 1; return big[x];",
        ],
    ));
    attacks.extend(product(
        "output",
        &["#include <stdio.h>\nint f(int x) { @ return 0; }"],
        &[
            "for (;;) puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");",
            "for (;;) fputs(\"xxxxxxxxxxxxxxxxxxxxx\", stderr);",
        ],
    ));
    attacks.extend(product(
        "files",
        &[
            "#include \"@\"\nint f(int x) { return 0; }",
            "#include <stdio.h>\nint f(int x) { FILE *g = fopen(\"@\", \"r\"); if (g) puts(\"ESCAPED\"); return 0; }",
        ],
        &["/etc/passwd", "/proc/self/environ", "../../../etc/hosts", "/root/.bashrc"],
    ));
    attacks.extend(product("recursion", &["@"], &["int f(int x) { volatile int y = x; return f(y + 1) + y; }"]));
    attacks
}

/// Attacks in C++.
pub fn cpp() -> Vec<Attack> {
    let mut attacks = product(
        "loop",
        &[
            "int f(int x) { volatile int i = 0; @ return 0; }",
            "struct A { A() { volatile int i = 0; @ } } a;\nint f(int x) { return 0; }",
        ],
        &["for (;;) i = i + 1;", "while (true) { i = 1; }", "a: i = 2; goto a;"],
    );
    attacks.extend(product(
        "memory",
        &["#include <vector>\n#include <string>\n#include <stdlib.h>\n#include <string.h>\nint f(int x) { @ return 0; }"],
        &[
            "std::vector<std::string> v; for (;;) v.push_back(std::string(100000, 'x'));",
            "for (;;) { char *p = (char *)malloc(1000000); memset(p, 1, 1000000); }",
            "std::string s = \"x\"; for (;;) s += s;",
            "volatile char big[1 << 28]; for (int i = 0; i < (1 << 28); i++) big[i] = 1; return big[x];",
        ],
    ));
    attacks.extend(product(
        "recursion",
        &["@"],
        &["int f(int x) { volatile int y = x; return f(y + 1) + y; }", "int g(int x); int f(int x) { volatile int y = x; return g(y) + y; } int g(int x) { volatile int y = x; return f(y) + y; }"],
    ));
    attacks.extend(product(
        "output",
        &["#include <cstdio>\n#include <iostream>\nint f(int x) { @ return 0; }"],
        &["for (;;) puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");", "for (;;) std::cerr << \"xxxxxxxxxxxxxxxxxxxxx\";"],
    ));
    attacks.extend(product(
        "exit",
        &[
            "#include <stdlib.h>\n#include <unistd.h>\nint f(int x) { @; return 0; }",
            "#include <stdlib.h>\n#include <unistd.h>\nstruct A { A() { @; } } a;\nint f(int x) { return 0; }",
            "#include <stdlib.h>\n#include <unistd.h>\nvoid g() { @; }\nint f(int x) { atexit(g); return 0; }",
        ],
        &["exit(0)", "_exit(0)", "_Exit(0)", "quick_exit(0)", "abort()", "__builtin_trap()", "__builtin_unreachable()"],
    ));
    attacks.extend(product("patching", &["@\nint f(int x) { return 0; }"], &TEXTS));
    attacks.extend(product(
        "patching",
        &["@\nint f(int x) { return 0; }"],
        &[
            "extern \"C\" void __wasm_call_ctors() {}",
            "extern \"C\" int __main_void() { return 0; }",
            "#include __BASE_FILE__",
            "#ifndef A\n#define A\n#define static_assert(x)\n#include __BASE_FILE__\n#endif",
            "namespace a {",
            "extern \"C\" {",
            "R\"(",
            "#pragma clang attribute push(__attribute__((weak)), apply_to = function)",
            "extern \"C\" __attribute__((import_module(\"codeexec\"), import_name(\"checked\"))) void mine(int, int, int, const char *); struct C { C() { mine(1, 1, 1, \"f(3) == 1234567\"); } } c;",
        ],
    ));
    attacks.extend(product(
        "files",
        &[
            "#include \"@\"\nint f(int x) { return 0; }",
            "#include <cstdio>\nint f(int x) { FILE *g = fopen(\"@\", \"r\"); if (g) puts(\"ESCAPED\"); return 0; }",
            "const char b[] = {\n#embed \"@\"\n};\n#include <cstdio>\nint f(int x) { puts(\"ESCAPED\"); puts(b); return 0; }",
            "asm(\".incbin \\\"@\\\"\");\n#include <cstdio>\nint f(int x) { puts(\"ESCAPED\"); return 0; }",
        ],
        &["/etc/passwd", "/proc/self/environ", "../../../etc/hosts", "/root/.bashrc"],
    ));
    attacks.extend(product(
        "compiler",
        &["@\nint f(int x) { return 0; }"],
        &[
            "template <int N> struct A { typedef typename A<N + 1>::t t; }; A<0>::t a;",
            "template <class T> struct A { A<A<T>> *p; typename A<A<T>>::q r; }; A<int> a;",
            "constexpr long g(long n) { long s = 0; for (long i = 0; i < n; i++) s += i; return s; } constexpr long z = g(100000000);",
            "#define A(x) x x x x x x x x x x\n#define B(x) A(A(A(A(A(A(A(x)))))))\nint z[] = { B(1,) };",
            "int z[1 << 30] = {1};",
            "#include \"program.cpp\"",
        ],
    ));
    attacks
}
