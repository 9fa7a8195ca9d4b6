// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title ISettings: numbers that the council may change, and how far
/// @notice A setting has a name ("holdBps") and a subject, what it is of (a class id; zero for
/// the contract itself).
///
/// What holds by structure:
/// - Only the timelock changes a setting, never out of its bounds, which are constants, by at most one step at a time,
///   and once in 90 days.
/// - Tightening works when the timelock executes it. Loosening waits `LOOSEN_DELAY` more, in public, and is then carried
///   out by anyone; until then the timelock may call it back by tightening or by `cancel`.
/// - What was abdicated never changes again; a change that still waits dies with it.
interface ISettings {
    struct Setting {
        uint256 value;
        uint256 min;
        uint256 max;
        /// The most that one change moves the value by.
        uint256 step;
        /// True where a lower value leaves less freedom (a limit); false where a higher one does (a level, a threshold).
        bool lowerIsTighter;
        /// The value that waits, and from when it may be carried out; 0: none waits.
        uint256 pending;
        uint48 pendingAt;
        /// The next time at which a change may be made.
        uint48 nextChangeAt;
        bool abdicated;
    }

    /// Also when the contract is made, for what no other event tells ("threshold", "admissionsPerDay").
    event SettingChanged(bytes32 indexed name, bytes32 indexed subject, uint256 value);
    event SettingScheduled(bytes32 indexed name, bytes32 indexed subject, uint256 value, uint48 readyAt);
    event SettingCancelled(bytes32 indexed name, bytes32 indexed subject);
    event Abdicated(bytes32 indexed name, bytes32 indexed subject);

    error OnlyTimelock(address sender);
    error UnknownSetting(bytes32 name, bytes32 subject);
    error SettingAbdicated(bytes32 name, bytes32 subject);
    error OutOfBounds(bytes32 name, uint256 value, uint256 min, uint256 max);
    error StepTooLarge(bytes32 name, uint256 from, uint256 to, uint256 step);
    error TooSoon(bytes32 name, uint48 nextChangeAt, uint256 nowS);
    error SameValue(bytes32 name, uint256 value);
    error NothingPending(bytes32 name, bytes32 subject);
    error NotYet(bytes32 name, uint48 readyAt, uint256 nowS);

    /// @notice Changes a setting: at once when it tightens, else scheduled. Only the timelock.
    function change(bytes32 name, bytes32 subject, uint256 value) external;
    /// @notice Carries out a change that has waited. Anyone may send it.
    function enact(bytes32 name, bytes32 subject) external;
    /// @notice Drops a change that waits. Only the timelock.
    function cancel(bytes32 name, bytes32 subject) external;
    /// @notice Ends the council's power over a setting, for good. Only the timelock. The name "signers" stands for the
    /// members of the quorum.
    function abdicate(bytes32 name, bytes32 subject) external;

    function settingOf(bytes32 name, bytes32 subject) external view returns (Setting memory);
    /// @notice All settings of this contract, by name and subject, "signers" not among them.
    function settings() external view returns (bytes32[] memory names, bytes32[] memory subjects);
    function isAbdicated(bytes32 name, bytes32 subject) external view returns (bool);
    function timelock() external view returns (address);
}
