/* SPDX-License-Identifier: MIT */
#ifdef FUZZ_REPLAY
int main(void)
{
    return 0;
}
#endif
