/* Continues a text: cc generate.c $(pkg-config --cflags --libs halfwarp) -o generate && ./generate "Once upon a time" */
#include <halfwarp.h>
#include <stdio.h>
#include <stdlib.h>

static void check(hw_status status) {
    if (status != HW_OK) {
        fprintf(stderr, "%s: %s\n", hw_status_name(status), hw_last_error());
        exit(1);
    }
}

/* Gets every piece of text as it becomes certain; a result other than 0 would stop. */
static int32_t print(const hw_step *step, void *user_data) {
    (void)user_data;
    fwrite(step->text, 1, step->text_len, stdout);
    return fflush(stdout) != 0;
}

int main(int argc, char **argv) {
    const char *prompt = argc > 1 ? argv[1] : "Once upon a time";
    hw_engine engine;
    hw_session session;
    check(hw_engine_open("tales", HW_NTS, NULL, &engine));
    check(hw_session_open(engine, &session));

    hw_sampling_params sampling;
    check(hw_sampling_params_default(&sampling, sizeof sampling));
    sampling.temperature = 0.8f;
    sampling.top_k = 40;
    sampling.seed = 7;
    hw_generate_params params;
    check(hw_generate_params_default(&params, sizeof params));
    params.sampling = &sampling;
    params.max_tokens = 60;
    params.callback = print;

    hw_stats stats;
    fputs(prompt, stdout);
    check(hw_generate(session, prompt, HW_NTS, &params, &stats, sizeof stats));
    printf("\n[%zu tokens, %s]\n", stats.n_generated, stats.finish == HW_FINISH_LENGTH ? "length" : "stop");

    check(hw_session_free(session));
    check(hw_engine_free(engine));
    return 0;
}
