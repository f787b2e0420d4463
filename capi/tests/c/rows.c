/* The rows X05, F01, F03 and F04 of the reliability plan, from C: for a run under a memory checker. Prints nothing if all hold. */
#include <halfwarp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "rows.c:%d: %s; last error: %s\n", __LINE__, #condition, hw_last_error()); \
            exit(1); \
        } \
    } while (0)

#define N_THREADS 8

static hw_engine engine;

static hw_engine open_engine(uint64_t n_cache) {
    hw_engine_params params;
    hw_engine opened = 0;
    EXPECT(hw_engine_params_default(&params, sizeof params) == HW_OK);
    params.device = HW_DEVICE_CPU;
    params.n_threads = 1;
    params.n_cache = n_cache;
    params.allow_nonfinite = 1; /* Saves a walk over the weights. */
    EXPECT(hw_engine_open("tales", HW_NTS, &params, &opened) == HW_OK);
    return opened;
}

static hw_session open_session(hw_engine of) {
    hw_session session = 0;
    EXPECT(hw_session_open(of, &session) == HW_OK);
    return session;
}

static hw_generate_params at_most(size_t max_tokens) {
    hw_generate_params params;
    EXPECT(hw_generate_params_default(&params, sizeof params) == HW_OK);
    params.max_tokens = max_tokens;
    params.ignore_eos = 1;
    return params;
}

static hw_status decode(hw_session session, const uint32_t *tokens, size_t n_tokens) {
    const hw_turn turn = {session, tokens, n_tokens, HW_ROWS_LAST, HW_PHASE_PROMPT};
    return hw_decode(&turn, 1, sizeof turn);
}

/* Buffers of exactly the size that is said, on the heap, so that a byte too far is found. */
static void f01_buffers(void) {
    size_t n = 0, again = 0;
    EXPECT(hw_tokenize(engine, "Once upon a time", HW_NTS, 0, NULL, 0, &n) == HW_E_TOO_SMALL && n == 4);
    uint32_t *ids = malloc(n * sizeof *ids);
    memset(ids, 0xaa, n * sizeof *ids);
    EXPECT(hw_tokenize(engine, "Once upon a time", HW_NTS, 0, ids, n - 1, &again) == HW_E_TOO_SMALL && again == n);
    EXPECT(ids[0] == 0xaaaaaaaa);
    char *text = malloc(16); /* No NUL after it. */
    memcpy(text, "Once upon a time", 16);
    EXPECT(hw_tokenize(engine, text, 16, 0, ids, n, &again) == HW_OK && again == n);
    memset(text, 0, 16);
    EXPECT(hw_detokenize(engine, ids, n, text, 15, &again) == HW_E_TOO_SMALL && again == 16 && text[0] == 0);
    EXPECT(hw_detokenize(engine, ids, n, text, 16, &again) == HW_OK && memcmp(text, "Once upon a time", 16) == 0);
    free(text);

    hw_session session = open_session(engine);
    EXPECT(decode(session, ids, n) == HW_OK);
    EXPECT(hw_session_logits(session, 0, NULL, 0, &again) == HW_E_TOO_SMALL && again == 4096);
    float *logits = malloc(again * sizeof *logits);
    EXPECT(hw_session_logits(session, 0, logits, again, &again) == HW_OK);
    float sum = 0;
    for (size_t i = 0; i < again; i++) sum += logits[i];
    EXPECT(sum == sum);
    free(logits);
    free(ids);
    char *small = malloc(sizeof(size_t)); /* The smallest struct there can be: its size. */
    EXPECT(hw_engine_info(engine, (hw_info *)(void *)small, sizeof(size_t)) == HW_OK);
    free(small);
    EXPECT(hw_session_free(session) == HW_OK);
}

static void f01_null(void) {
    size_t n;
    uint32_t id;
    hw_session session = open_session(engine);
    EXPECT(hw_engine_open(NULL, HW_NTS, NULL, &engine) == HW_E_BAD_ARG);
    EXPECT(hw_engine_open("tales", HW_NTS, NULL, NULL) == HW_E_BAD_ARG);
    EXPECT(hw_engine_params_default(NULL, sizeof(hw_engine_params)) == HW_E_BAD_ARG);
    EXPECT(hw_engine_info(engine, NULL, sizeof(hw_info)) == HW_E_BAD_ARG);
    EXPECT(hw_tokenize(engine, NULL, 3, 0, &id, 1, &n) == HW_E_BAD_ARG);
    EXPECT(hw_tokenize(engine, "a", HW_NTS, 0, NULL, 1, &n) == HW_E_BAD_ARG);
    EXPECT(hw_tokenize(engine, "a", HW_NTS, 0, &id, 1, NULL) == HW_E_BAD_ARG);
    EXPECT(hw_session_open(engine, NULL) == HW_E_BAD_ARG);
    EXPECT(hw_decode(NULL, 1, sizeof(hw_turn)) == HW_E_BAD_ARG);
    EXPECT(decode(session, NULL, 1) == HW_E_BAD_ARG);
    EXPECT(hw_generate(session, NULL, HW_NTS, NULL, NULL, 0) == HW_E_BAD_ARG);
    EXPECT(hw_generate_tokens(session, NULL, 1, NULL, NULL, 0) == HW_E_BAD_ARG);
    EXPECT(hw_session_free(0) == HW_OK && hw_engine_free(0) == HW_OK);
    EXPECT(hw_session_free(session) == HW_OK);
}

static void f03_handles(hw_engine other) {
    const uint32_t id = 1;
    hw_session session = open_session(other);
    EXPECT(hw_engine_free(session) == HW_E_BAD_HANDLE && hw_session_free(other) == HW_E_BAD_HANDLE);
    EXPECT(hw_engine_free(other) == HW_OK && hw_engine_free(other) == HW_E_BAD_HANDLE);
    EXPECT(decode(session, &id, 1) == HW_OK); /* A session keeps its engine. */
    EXPECT(hw_session_free(session) == HW_OK && hw_session_free(session) == HW_E_BAD_HANDLE);
    EXPECT(decode(session, &id, 1) == HW_E_BAD_HANDLE);
    EXPECT(hw_session_cancel(session) == HW_E_BAD_HANDLE);
    EXPECT(hw_session_open(other, &session) == HW_E_BAD_HANDLE);
}

static pthread_barrier_t start;

static void *use_and_free(void *user_data) {
    hw_session session = *(hw_session *)user_data;
    hw_generate_params params = at_most(4);
    pthread_barrier_wait(&start);
    for (int i = 0; i < 4; i++) {
        hw_status status = hw_generate(session, "Once", HW_NTS, &params, NULL, 0);
        EXPECT(status == HW_OK || status == HW_E_BUSY || status == HW_E_BAD_HANDLE);
        EXPECT(hw_last_error() != NULL);
    }
    hw_status status;
    while ((status = hw_session_free(session)) == HW_E_BUSY) {
        EXPECT(hw_session_cancel(session) != HW_E_BUSY);
        nanosleep(&(struct timespec){0, 1000000}, NULL); /* A checker runs one thread at a time. */
    }
    EXPECT(status == HW_OK || status == HW_E_BAD_HANDLE);
    return (void *)(size_t)(status == HW_OK);
}

static void f03_threads(void) {
    pthread_t threads[N_THREADS];
    hw_session session = open_session(engine);
    size_t n_freed = 0;
    EXPECT(pthread_barrier_init(&start, NULL, N_THREADS) == 0);
    for (int i = 0; i < N_THREADS; i++) EXPECT(pthread_create(&threads[i], NULL, use_and_free, &session) == 0);
    for (int i = 0; i < N_THREADS; i++) {
        void *freed = NULL;
        EXPECT(pthread_join(threads[i], &freed) == 0);
        n_freed += (size_t)freed;
    }
    EXPECT(n_freed == 1);
    pthread_barrier_destroy(&start);
}

struct seen {
    hw_session session;
    size_t n_steps, stop_at;
};

static int32_t each(const hw_step *step, void *user_data) {
    struct seen *seen = user_data;
    const uint32_t id = 1;
    EXPECT(step->size == sizeof *step && memchr(step->text, 0, step->text_len) == NULL);
    EXPECT(decode(seen->session, &id, 1) == HW_E_BUSY && hw_session_free(seen->session) == HW_E_BUSY);
    return ++seen->n_steps == seen->stop_at;
}

static int32_t refuse(float fraction, void *user_data) {
    (void)user_data;
    return fraction >= 0;
}

static void f04_callbacks_and_paths(void) {
    hw_session session = open_session(engine);
    struct seen seen = {session, 0, 3};
    hw_generate_params params = at_most(40);
    hw_stats stats;
    params.callback = each;
    params.user_data = &seen;
    EXPECT(hw_generate(session, "Once", HW_NTS, &params, &stats, sizeof stats) == HW_OK);
    EXPECT(stats.finish == HW_FINISH_CALLBACK && stats.n_generated == 3 && seen.n_steps == 3);
    EXPECT(hw_session_free(session) == HW_OK);
    hw_engine_params engine_params;
    hw_engine none = 0;
    EXPECT(hw_engine_params_default(&engine_params, sizeof engine_params) == HW_OK);
    engine_params.progress = refuse;
    EXPECT(hw_engine_open("tales", HW_NTS, &engine_params, &none) == HW_E_CANCELLED);
    EXPECT(hw_engine_open("ta\0les", 6, NULL, &none) == HW_E_BAD_ARG);
    EXPECT(hw_engine_open("ta\xffles", HW_NTS, NULL, &none) == HW_E_BAD_ARG);
    EXPECT(hw_engine_open("/no/such/model", HW_NTS, NULL, &none) == HW_E_NOT_FOUND && none == 0);
}

static void x05_full_cache(hw_engine small) {
    hw_session session = open_session(small);
    uint32_t ids[30] = {0};
    size_t n = 0;
    EXPECT(decode(session, ids, 30) == HW_OK);
    EXPECT(decode(session, ids, 5) == HW_E_CACHE_FULL);
    EXPECT(hw_session_tokens(session, NULL, 0, &n) == HW_E_TOO_SMALL && n == 30);
    EXPECT(hw_session_truncate(session, 2, &n) == HW_OK && n == 2);
    EXPECT(decode(session, ids, 5) == HW_OK);
    EXPECT(hw_session_free(session) == HW_OK);
}

int main(void) {
    EXPECT(hw_abi_version() == HW_ABI_VERSION);
    engine = open_engine(0);
    hw_engine small = open_engine(32);
    f01_buffers();
    f01_null();
    x05_full_cache(small);
    f03_handles(small);
    f03_threads();
    f04_callbacks_and_paths();
    EXPECT(hw_engine_free(engine) == HW_OK);
    return 0;
}
