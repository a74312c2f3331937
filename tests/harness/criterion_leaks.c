/* Linked into every Criterion test under the address sanitizer. Criterion 2.4.1's runner may end
 * before the thread that watches a test's timeout has freed its timer, which is not our leak. The
 * tests themselves run in children, whose leaks Criterion does not count; those of the servers
 * are found in the servers, by their exit status. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libcriterion";
}
