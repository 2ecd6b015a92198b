/* The least a program can be: what the benchmarks measure nextport against.
 * SPDX-License-Identifier: MIT */
int main(void)
{
    return 0;
}
