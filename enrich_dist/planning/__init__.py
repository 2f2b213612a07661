"""Estimate a run before it starts: candidates, memory, run time and disk, with recommended settings.

``run_plan`` makes the plan from a sample (``sample``), a trial on it (``trial``) and earlier runs (``earlier_runs``);
``estimate`` turns them into seconds and bytes; ``recommend`` chooses settings; ``prediction`` stores the estimate and
``plan_vs_actual`` compares it with the run that follows.
"""
