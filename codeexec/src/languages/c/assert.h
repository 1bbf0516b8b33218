/* `assert` reports its result to the host as the argument of an imported function, so nothing in the guest can change it. */
#undef assert
#ifdef __cplusplus
extern "C" {
#endif
__attribute__((import_module("codeexec"), import_name("checked"))) void __codeexec_checked(
    int passed, int is_test, int line, const char *text);
#ifdef __cplusplus
}
#endif
#ifndef __cplusplus
#undef static_assert
#define static_assert _Static_assert
#endif
#ifdef CODEEXEC_TESTS
#define assert(...) __codeexec_checked((__VA_ARGS__) ? 1 : 0, 1, __LINE__, #__VA_ARGS__)
#elif defined(NDEBUG)
#define assert(...) ((void)0)
#else
#define assert(...) ((__VA_ARGS__) ? (void)0 : (__codeexec_checked(0, 0, __LINE__, #__VA_ARGS__), __builtin_trap()))
#endif
