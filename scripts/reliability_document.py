"""The text of ``docs/explanation/reliability.md`` from recorded figures (``scripts.reliability`` writes it)."""

from __future__ import annotations

from typing import Any

# Name of a test up to "[": (its fault, the outcome of the run).
SURVIVED, STOPPED, REFUSED = "survived", "stopped cleanly, resumed", "refused before work starts"
FAULTS = {
    "test_failed_chunk_is_retried_once": ("worker killed, exits, raises, hangs once", SURVIVED),
    "test_crashed_worker_costs_one_attempt": ("segfault, SIGTERM, sys.exit in a worker", SURVIVED),
    "test_all_workers_killed_at_once_recover": ("all workers killed at once", SURVIVED),
    "test_worker_ignoring_sigterm_is_restarted": ("worker hangs and ignores SIGTERM", SURVIVED),
    "test_stopped_worker_is_replaced": ("worker stopped permanently (SIGSTOP)", SURVIVED),
    "test_worker_resumed_in_time_costs_nothing": ("worker stopped temporarily", SURVIVED),
    "test_late_worker_overwrites_nothing": ("worker considered dead continues", SURVIVED),
    "test_clock_jumps_cost_one_restart": ("clock skew of days, clock jumps", SURVIVED),
    "test_silent_worker_is_restarted_chunk_retried": ("worker sends no heartbeat", SURVIVED),
    "test_straggler_backup_task_counts_once": ("slow straggler", SURVIVED),
    "test_idle_paused_workers_are_restarted": ("workers paused by memory", SURVIVED),
    "test_paused_workers_stop_run_with_memory": ("all workers paused permanently", STOPPED),
    "test_late_worker_without_index_is_retired": ("late worker cannot read the index", SURVIVED),
    "test_short_disconnect_costs_nothing": ("short network disconnect", SURVIVED),
    "test_long_disconnect_loses_one_worker": ("permanent network disconnect", SURVIVED),
    "test_cluster_without_workers_stops_run": ("no worker at all", STOPPED),
    "test_failing_chunk_stops_run_keeps_rest": ("chunk kills its worker on every attempt", STOPPED),
    "test_out_of_memory_chunk_is_split": ("chunk exceeds the memory of its worker", SURVIVED),
    "test_failing_row_is_quarantined_with_reason": ("row that always raises", SURVIVED),
    "test_out_of_memory_floor_stops_run": ("smallest part of a chunk exceeds the memory", STOPPED),
    "test_limit_below_index_is_refused": ("memory limit below the index", REFUSED),
    "test_low_memory_shrinks_batches_same_bytes": ("memory limit nearly reached", SURVIVED),
    "test_too_many_quarantined_rows_block_result": ("more quarantined rows than allowed", "blocked by the gate"),
    "test_lost_scheduler_returns_or_run_resumes": ("scheduler killed, restarted or not", STOPPED),
    "test_run_resumes_on_another_scheduler": ("scheduler lost permanently", STOPPED),
    "test_driver_killed_in_stage_resumes": ("driver killed at a stage's commit", STOPPED),
    "test_driver_killed_during_matching_resumes": ("driver killed during matching", STOPPED),
    "test_full_disk_leaves_no_partial_file": ("disk full (tmpfs), by step", STOPPED),
    "test_full_disk_prints_one_line": ("disk of Dagster's history full", STOPPED),
    "test_read_only_disk_keeps_published_result": ("disk read-only", STOPPED),
    "test_finished_work_survives_power_cut": ("power cut (ext4 without journal)", STOPPED),
    "test_damaged_checkpoint_is_recomputed_alone": ("damaged checkpoint", SURVIVED),
    "test_swapped_checkpoints_are_recomputed": ("swapped checkpoints", SURVIVED),
    "test_damaged_byte_is_detected_and_rewritten": ("checkpoint damaged at a random byte", "detected on reading"),
    "test_failing_store_requests_change_nothing": ("every tenth request to the object store fails", SURVIVED),
    "test_damaged_output_is_rebuilt": ("damaged output of a step (awards, companies, index, chunks, ...)", SURVIVED),
    "test_damage_between_steps_stops_run": ("output damaged between two steps", STOPPED),
    "test_damaged_step_record_is_rewritten": ("damaged record of a step", SURVIVED),
    "test_damaged_chunk_is_rebuilt_not_matched": ("damaged chunk file", STOPPED),
    "test_other_index_stops_run_at_once": ("worker reads another index", STOPPED),
    "test_scaling_during_run_changes_nothing": ("scaling down and up", SURVIVED),
    "test_poison_rows_change_no_others": ("14 kinds of malformed rows", SURVIVED),
    "test_poison_file_is_refused": ("malformed files", REFUSED),
    "test_run_with_faults_warns_and_matches": ("half of all attempts fail", SURVIVED),
}


def document(
    measured: dict[str, Any],
    soak: dict[str, Any],
    fuzzing: dict[str, Any],
    mutants: dict[str, Any],
    cases: dict[str, dict[str, int]],
) -> str:
    """Return the text of ``docs/explanation/reliability.md``. Raises ``KeyError`` if a fault was not tested."""
    recovered, resumed = measured["recovery"], measured["resume"]
    cost, many, machine_ = measured["overhead"], measured["many_chunks"], measured["machine"]
    redone = soak["matcher_calls"] - soak["schedules"] * soak["chunks_per_schedule"]
    injected = sum(soak["faults"].values()) + sum(soak["failed_attempts"].values())
    found = mutants["outcomes"].get("killed", 0) + mutants["outcomes"].get("timeout", 0)
    growth = many["driver_memory_mb_at_the_end"] - many["driver_memory_mb_after_a_tenth"]
    rows = [
        (
            "soak: schedules with lost or duplicated rows, different bytes, a hang or a recomputed finished chunk",
            "0",
            f"{soak['schedules_wrong']} of {soak['schedules']}",
        ),
        (
            "damaged and random inputs to the readers that end with an unexpected error or lose a row (`make fuzz`)",
            "0",
            f"{fuzzing['exceptions']} of {fuzzing['inputs']:,} (version {fuzzing['sources_version']} of the readers)",
        ),
        (
            "faults planted in results, farm, store and decisions that the quick unit tests find (`make mutants`)",
            "at least 85%",
            f"{100 * found / mutants['sample']:.0f}%, {found} of a sample of {mutants['sample']} "
            f"(of {mutants['faults']:,}; {mutants['outcomes'].get('not reached', 0)} not reached by these tests)",
        ),
        (
            "chunks computed again after all workers were killed",
            f"at most the {recovered['chunks_running']} running",
            str(recovered["chunks_redone"]),
        ),
        (
            "time from the restart of a worker to the start of a lost chunk",
            "at most 10 s",
            f"{recovered['recovery_seconds']} s",
        ),
        (
            "command on a finished run, without start-up",
            "at most 5 s",
            f"{resumed['beyond_start_up_seconds']} s (start-up {resumed['start_up_seconds']} s)",
        ),
        (
            f"overhead of a farm of {cost['chunks']:,} chunks of {cost['chunk_rows']:,} rows over one process",
            "at most 5%",
            f"{100 * cost['overhead_share']:.1f}%, {cost['overhead_ms_per_chunk']:.1f} ms per chunk (wall times of "
            f"{cost['rounds']} pairs: {', '.join(f'{100 * share:+.0f}%' for share in cost['wall_shares'])})",
        ),
        (
            f"growth of the driver's memory over {many['chunks']:,} chunks of one row, after the first tenth",
            "none",
            f"{growth:+.0f} MB ({many['driver_memory_mb_after_a_tenth']:.0f} to "
            f"{many['driver_memory_mb_at_the_end']:.0f} MB, {many['farm_seconds']:.0f} s)",
        ),
    ]
    faults = [
        (fault, sum(cases[name].values()), cases[name].get("passed", 0), cases[name].get("skipped", 0), end)
        for name, (fault, end) in FAULTS.items()
    ]
    others = {name: outcomes for name, outcomes in cases.items() if name not in FAULTS}
    failed = sum(outcomes.get("failed", 0) for outcomes in cases.values())
    return "\n".join(
        [
            "# Reliability",
            "",
            "Generated by `python -m scripts.reliability render` from the figures in `reports/reliability/`.",
            f"Machine: {machine_['cpu_count']} cores, {machine_['memory_gb']} GB, {machine_['system']}, Python "
            f"{machine_['python']}.",
            "",
            "| metric | target | measured |",
            "|---|---|---|",
            *(f"| {figure} | {target} | {found} |" for figure, target, found in rows),
            "",
            "## Injected faults",
            "",
            "Each case compares the published bytes with those of an undisturbed run and counts the calls of the",
            "matcher per chunk (`make test-faults`). A case that neither passed nor was skipped failed.",
            "",
            "| fault | cases | passed | skipped | outcome of the run |",
            "|---|---|---|---|---|",
            *(f"| {fault} | {tried} | {passed} | {skipped} | {end} |" for fault, tried, passed, skipped, end in faults),
            "",
            f"{sum(outcomes.get('passed', 0) for outcomes in others.values())} of "
            f"{sum(sum(outcomes.values()) for outcomes in others.values())} further cases passed (messages,",
            "refused settings, counters, kept files). "
            + (f"{failed} cases failed." if failed else "No case failed."),
            "",
            "## Soak",
            "",
            f"{soak['schedules']} random schedules with {soak['drivers']} drivers on one cluster of real processes,",
            f"seed {soak['seed']} (`make soak`): {injected} faults. Runs stopped cleanly and resumed",
            f"{soak['clean_stops']} times. {soak['schedules'] * soak['chunks_per_schedule']:,} chunks were matched; "
            f"lost attempts cost {redone} more calls of the matcher.",
            f"Seconds per schedule: {soak['seconds_median']} (median), {soak['seconds_longest']} (longest).",
            "",
            "| fault | times |",
            "|---|---|",
            *(f"| {kind} | {number} |" for kind, number in soak["faults"].items()),
            *(f"| failed attempts ({kind}) of drivers that completed | {number} |"
              for kind, number in soak["failed_attempts"].items()),
            "",
        ]
    )  # fmt: skip
