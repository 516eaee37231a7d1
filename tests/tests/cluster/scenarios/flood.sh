# Runs in a pod: 1,200 callers without a token read a large document at 3 KB/s each, for a minute. URL is given.
callers() { timeout 60 curl -sZ --parallel-immediate --parallel-max 300 --limit-rate 3K -o /dev/null "$URL#[1-100000]"; }
for _ in 1 2 3 4; do callers & done
wait
