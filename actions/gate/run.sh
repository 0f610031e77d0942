#!/usr/bin/env bash
# The step of the action: asks by tools/gate, and leaves outputs, a summary and annotations.
set -uo pipefail

code=0
images=()
while IFS= read -r line; do
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    if [ -n "$line" ]; then images+=("$line"); fi
done <<<"$GATE_IMAGES"

answer=$(mktemp "${RUNNER_TEMP:-/tmp}/gate-answer.XXXXXX")
run="${GITHUB_SERVER_URL:-https://github.com}/${GITHUB_REPOSITORY:-}/actions/runs/${GITHUB_RUN_ID:-}"
"$(dirname "$0")/../../tools/gate" --function "$GATE_FUNCTION" --region "$GATE_REGION" --wait-minutes "$GATE_WAIT_MINUTES" \
    --on-unavailable "$GATE_ON_UNAVAILABLE" --output "$answer" --run "$run" -- "${images[@]+"${images[@]}"}" || code=$?

# Nothing that a scanner says may end a line of a workflow command, or begin another.
escape='def escape: tostring | gsub("##\\["; "# #[") | gsub("%"; "%25") | gsub("\r"; "%0D") | gsub("\n"; "%0A");'
# shellcheck disable=SC2016 # the backquotes are Markdown
cell='def cell: tostring | gsub("[\r\n|`<>]"; " ");'
if [ -s "$answer" ]; then
    jq -r "$escape"' .images[] | if .decision == "allow" then .warnings[] as $w | "::warning title=ecr-guard::\(.image): \($w)" | escape
        else "::error title=ecr-guard::\(.image): \(.reason)" | escape end' "$answer"
    jq -r '"decision=\(.decision)", "digest=\(.images[0].digest // "")", "pinned=\(.images[0] | .pinned // (if $code == 0 then .image else "" end) | gsub("[\r\n]"; ""))"' --argjson code "$code" "$answer" >>"$GITHUB_OUTPUT"
    {
        printf '### ecr-guard\n\n| image | decision | state | reason |\n|---|---|---|---|\n'
        jq -r "$cell"' .images[] | "| \(.image | cell) | \(.decision) | \(.state | cell) | \(.reason | cell) |"' "$answer"
    } >>"$GITHUB_STEP_SUMMARY"
else
    # Where the deployment goes on without an answer, it has the name that was asked about.
    pinned=''
    if [ "$code" -eq 0 ]; then pinned=${images[0]-}; fi
    printf 'decision=unavailable\ndigest=\npinned=%s\n' "$pinned" >>"$GITHUB_OUTPUT"
    printf '### ecr-guard\n\nThe gate did not answer.\n' >>"$GITHUB_STEP_SUMMARY"
    level=error
    if [ "$code" -eq 0 ]; then level=warning; fi
    printf '::%s title=ecr-guard::The gate did not answer, or was not asked. The log of this step says why.\n' "$level"
fi
printf 'answer=%s\n' "$answer" >>"$GITHUB_OUTPUT"
exit "$code"
