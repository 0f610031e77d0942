#!/usr/bin/env bash
# The step of the action: asks by tools/gate, and leaves outputs, a summary and annotations.
set -uo pipefail

images=()
while IFS= read -r line; do
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    if [ -n "$line" ]; then images+=("$line"); fi
done <<<"$GATE_IMAGES"

answer=$(mktemp "${RUNNER_TEMP:-/tmp}/gate-answer.XXXXXX")
run="${GITHUB_SERVER_URL:-https://github.com}/${GITHUB_REPOSITORY:-}/actions/runs/${GITHUB_RUN_ID:-}"
code=0
"$(dirname "$0")/../../tools/gate" --function "$GATE_FUNCTION" --region "$GATE_REGION" --wait-minutes "$GATE_WAIT_MINUTES" \
    --on-unavailable "$GATE_ON_UNAVAILABLE" --output "$answer" --run "$run" -- "${images[@]+"${images[@]}"}" || code=$?

# Nothing that a scanner says may end a line of a workflow command, or begin another.
escape='def escape: tostring | gsub("%"; "%25") | gsub("\r"; "%0D") | gsub("\n"; "%0A");'
# shellcheck disable=SC2016 # the backquotes are Markdown
cell='def cell: tostring | gsub("[\r\n|`<>]"; " ");'
if [ -s "$answer" ]; then
    jq -r "$escape"' .images[] | if .decision == "allow" then .warnings[] as $w | "::warning title=ecr-guard::\(.image): \($w)" | escape
        else "::error title=ecr-guard::\(.image): \(.reason)" | escape end' "$answer"
    jq -r '"decision=\(.decision)", "digest=\(.images[0].digest // "")", "pinned=\(.images[0].pinned // "")"' "$answer" >>"$GITHUB_OUTPUT"
    {
        printf '### ecr-guard\n\n| image | decision | state | reason |\n|---|---|---|---|\n'
        jq -r "$cell"' .images[] | "| \(.image | cell) | \(.decision) | \(.state | cell) | \(.reason | cell) |"' "$answer"
    } >>"$GITHUB_STEP_SUMMARY"
else
    printf 'decision=unavailable\ndigest=\npinned=\n' >>"$GITHUB_OUTPUT"
    printf '### ecr-guard\n\nThe gate did not answer.\n' >>"$GITHUB_STEP_SUMMARY"
    if [ "$code" -ne 0 ]; then printf '::error title=ecr-guard::The gate did not answer, or was not asked.\n'; fi
fi
printf 'answer=%s\n' "$answer" >>"$GITHUB_OUTPUT"
exit "$code"
