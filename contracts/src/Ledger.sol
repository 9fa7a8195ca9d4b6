// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Registry} from "./Registry.sol";
import {Units} from "./Units.sol";
import {Views} from "./Views.sol";
import {Wiring} from "./Wiring.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IQuorum} from "./interfaces/IQuorum.sol";
import {ISettings} from "./interfaces/ISettings.sol";
import {Signature, System} from "./interfaces/Types.sol";

/// @title Ledger: who owns which asset, in units
/// @notice No variable is declared here: the registry's come after those of Units.
contract Ledger is Views, IERC5267 {
    using SafeCast for uint256;

    uint256 private constant ONE = 1e6; // the micro-units of 1.000000

    /// @inheritdoc ILedger
    address public immutable access;
    /// @inheritdoc ILedger
    address public immutable meter;
    /// @inheritdoc ILedger
    address public immutable token;
    /// @inheritdoc ISettings
    address public immutable timelock;
    /// @inheritdoc ILedger
    uint256 public immutable maxClasses;
    /// @inheritdoc ILedger
    uint48 public immutable gracePeriod;
    /// @notice Where the code of what is not written here is: see Registry.
    address public immutable registry;

    modifier onlyMembers() {
        _checkMembers();
        _;
    }

    constructor(
        address[] memory appraisers_,
        uint256 threshold_,
        ClassParams[] memory classes_,
        uint256 maxClasses_,
        uint48 gracePeriod_,
        System memory system
    ) Units(system.members) {
        Wiring.check(system, system.ledger);
        (access, meter, token, timelock) = (system.access, system.meter, system.token, system.timelock);
        (maxClasses, gracePeriod) = (maxClasses_, gracePeriod_);
        registry = address(new Registry(maxClasses_, gracePeriod_, system.timelock, system.members));

        Address.functionDelegateCall(registry, abi.encodeCall(Registry.begin, (appraisers_, threshold_, classes_)));
    }

    /// @inheritdoc ILedger
    function take(uint256 asset, uint64 units, uint128 maxPrice) external {
        StoredAsset storage stored = _standing(asset);
        uint128 price = stored.commonsPrice;
        if (units == 0) revert NoUnits();
        if (price > maxPrice) revert PriceAbove(price, maxPrice);
        (, address root) = _checkReceiver(address(0), msg.sender);

        uint256 number = _carry(address(this), msg.sender, asset, units);
        _move(number, address(0), msg.sender, address(0), root, units);
        uint256 paid = Math.ceilDiv(uint256(units) * price, ONE);

        emit Taken(asset, msg.sender, units, paid);

        SafeERC20.safeTransferFrom(IERC20(token), msg.sender, _inPlaceOf(stored.operator), paid);
    }

    /// @inheritdoc ILedger
    function decline(uint256 asset, uint256 units) external {
        _checkNotReplaced(msg.sender);

        uint256 number = _carry(msg.sender, address(this), asset, units);
        _drop(number, msg.sender, units);
    }

    /// @inheritdoc ILedger
    function sync(uint256 asset, address[] calldata holders) external {
        Head memory head = _assets[asset].head;
        if (!head.retired) revert NotRetired(asset);

        for (uint256 i; i < holders.length; ++i) {
            _sync(head.class, asset, holders[i]);
        }
    }

    /// @inheritdoc ILedger
    function accrue(uint256 asset, uint256 amount) external {
        if (msg.sender != meter) revert OnlyMeter(msg.sender);

        _accrue(asset, amount);
    }

    /// @inheritdoc ILedger
    function claim(uint256 asset, address account) external returns (uint256 amount) {
        if (account == address(this)) revert NothingToClaim(account); // the commons is shared, not paid
        amount = _collect(asset, account);
        _claimed += amount.toUint128();

        emit Claimed(asset, account, amount);

        IAccess(access).pay(_inPlaceOf(account), amount);
    }

    /// @inheritdoc ILedger
    function shareCommons(uint256 asset) external returns (uint256 amount) {
        return _share(asset);
    }

    /// @inheritdoc ILedger
    function claimCommons(address root) external returns (uint256 amount) {
        amount = _collectPlace(root);
        _claimed += amount.toUint128();

        emit CommonsClaimed(root, amount);

        IAccess(access).pay(root, amount);
    }

    /// @inheritdoc ILedger
    function recover(address member, uint256[] calldata assets) external {
        address successor = _inPlaceOf(member);
        if (successor == member) revert NotReplaced(member);

        address root = IMembers(_members).rootOf(successor);
        for (uint256 i; i < assets.length; ++i) {
            _recover(assets[i], member, successor, root);
        }
    }

    /// @inheritdoc ILedger
    function merge(address oldRoot, address newRoot) external onlyMembers {
        _mergeTotals(oldRoot, newRoot);
        _exit(oldRoot);
    }

    /// @inheritdoc ILedger
    function detach(address member, address[] calldata controllers) external onlyMembers {
        _detachTotals(member, controllers);
        _enter(member);
    }

    /// @inheritdoc ILedger
    function replace(address member, address successor) external onlyMembers {
        _replaceTotals(member, successor);
        _replacePlace(member, successor);
    }

    /// @inheritdoc ILedger
    function enter(address root) external onlyMembers {
        _enter(root);
    }

    /// @inheritdoc ILedger
    function exit(address root) external onlyMembers {
        _exit(root);
    }

    /// @inheritdoc ILedger
    function createClass(ClassParams calldata) external {
        _runRegistry();
    }

    /// @inheritdoc ILedger
    function register(Appraisal calldata, Signature[] calldata, Share[] calldata, uint128, string calldata)
        external
        returns (uint256)
    {
        _runRegistry();
    }

    /// @inheritdoc ILedger
    function renew(uint256, Appraisal calldata, Signature[] calldata) external {
        _runRegistry();
    }

    /// @inheritdoc ILedger
    function lowerCommonsPrice(uint256, uint128) external {
        _runRegistry();
    }

    /// @inheritdoc ILedger
    function retire(uint256, bytes32[] calldata) external {
        _runRegistry();
    }

    /// @inheritdoc ISettings
    function change(bytes32, bytes32, uint256) external {
        _runRegistry();
    }

    /// @inheritdoc ISettings
    function enact(bytes32, bytes32) external {
        _runRegistry();
    }

    /// @inheritdoc ISettings
    function cancel(bytes32, bytes32) external {
        _runRegistry();
    }

    /// @inheritdoc ISettings
    function abdicate(bytes32, bytes32) external {
        _runRegistry();
    }

    /// @inheritdoc IQuorum
    function addSigner(address) external {
        _runRegistry();
    }

    /// @inheritdoc IQuorum
    function enactSigner(address) external {
        _runRegistry();
    }

    /// @inheritdoc IQuorum
    function removeSigner(address) external {
        _runRegistry();
    }

    /// @inheritdoc ISettings
    function settingOf(bytes32, bytes32) external view returns (Setting memory setting) {
        _readRegistry();
    }

    /// @inheritdoc ISettings
    function settings() external view returns (bytes32[] memory names, bytes32[] memory subjects) {
        _readRegistry();
    }

    /// @inheritdoc ISettings
    function isAbdicated(bytes32, bytes32) external view returns (bool) {
        _readRegistry();
    }

    /// @inheritdoc IQuorum
    function threshold() external view returns (uint256) {
        _readRegistry();
    }

    /// @inheritdoc IQuorum
    function signerReadyAt(address) external view returns (uint48) {
        _readRegistry();
    }

    /// @inheritdoc IERC5267
    function eip712Domain()
        external
        view
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory)
    {
        _readRegistry();
    }

    /// @inheritdoc ILedger
    function isAppraiser(address) external view returns (bool) {
        _readRegistry();
    }

    /// @inheritdoc ILedger
    function appraisers() external view returns (address[] memory) {
        _readRegistry();
    }

    function _checkMembers() private view {
        if (msg.sender != _members) revert OnlyMembers(msg.sender);
    }

    /// Runs this very call with the registry's code, and answers what that answers: nothing after it is reached.
    function _runRegistry() private {
        address target = registry;
        assembly ("memory-safe") {
            let data := mload(0x40)
            calldatacopy(data, 0, calldatasize())
            let done := delegatecall(gas(), target, data, calldatasize(), 0, 0)
            returndatacopy(data, 0, returndatasize())
            if iszero(done) { revert(data, returndatasize()) }
            return(data, returndatasize())
        }
    }

    /// The same for functions that change nothing, which the compiler does not see of a delegatecall.
    function _readRegistry() private view {
        function() internal run = _runRegistry;
        function() internal view read;
        assembly ("memory-safe") {
            read := run
        }
        read();
    }
}
